"""Changing messages and protecting them again, so that a flaw is the only thing wrong with a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sipmikey.keys.derivation import ProtectionKeys, initial_message_keys, response_message_keys
from sipmikey.keys.mac import compute_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import Suite, suite_of
from sipmikey.keys.transport import open_keys, seal_keys
from sipmikey.mikey.header import Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData, encode_key_data
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType, EncrAlg, IdRole, IdType, KeyDataType, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import T, Timestamp
from sipmikey.ticket.protection import empty_v
from sipmikey.ticket.transfer_message import transfer_init_coverage

Edit = Callable[[list[Payload]], Sequence[Payload]]


def replacing(cls: type, change: Callable[[Any], Payload | None], role: int | None = None) -> Edit:
    """Return an edit that changes every payload of a class, and leaves it out where *change* gives None."""

    def edit(payloads: list[Payload]) -> list[Payload]:
        changed = [
            change(item)
            if isinstance(item, cls) and (role is None or getattr(item, "role", None) == role)
            else item
            for item in payloads
        ]
        return [item for item in changed if item is not None]

    return edit


def without(cls: type, role: int | None = None) -> Edit:
    """Return an edit that leaves payloads of a class out."""
    return replacing(cls, lambda _: None, role)


def before_last(*more: Payload) -> Edit:
    """Return an edit that adds payloads before the last one, V."""
    return lambda payloads: [*payloads[:-1], *more, payloads[-1]]


def clear_keys() -> Edit:
    """Return an edit that adds a key in a KEMAC that does not encrypt it."""
    key = KeyData(key_type=KeyDataType.TGK, key=Secret(b"k" * 32), spi=b"spi!")
    return before_last(KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data([key])))


def shifted_time(seconds: int) -> Edit:
    """Return an edit that moves T by *seconds*."""

    def change(payload: T) -> T:
        moved = payload.timestamp.unix_ns() + seconds * 1_000_000_000
        return T(timestamp=Timestamp.ntp_utc(moved))

    return replacing(T, change)


def named(role: IdRole, uri: str) -> Edit:
    """Return an edit that puts another URI into IDR payloads of a role."""
    idr = IDR(role=role, id_type=IdType.URI, data=uri.encode())
    return replacing(IDR, lambda _: idr, role)


def flipped(octets: bytes) -> bytes:
    """Return *octets* with the last bit changed: a MAC that does not verify."""
    return octets[:-1] + bytes((octets[-1] ^ 1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forger:
    """Makes variants of one message.

    ``inkey`` protects the message, ``rands`` enter its label. ``following`` is what its MAC covers after it:
    identities, or the initial message of a response.
    """

    message: Message
    inkey: Secret
    following: bytes

    @property
    def suite(self) -> Suite:
        """The suite of the HDR."""
        return suite_of(self.message.header.prf)

    def protection(self, message: Message, rands: Sequence[RANDR] = ()) -> ProtectionKeys:
        """Return the keys that protect *message*; *rands* are those of its initial message."""
        values = {
            "rand_i" if item.role == RandRole.INITIATOR else "rand_r": item.rand
            for item in (*rands, *message.all(RANDR))
            if item.role in (RandRole.INITIATOR, RandRole.RESPONDER)
        }
        derive = response_message_keys if rands else initial_message_keys
        return derive(Prf(message.header.prf, self.inkey), message.header.csb_id, **values)

    def variant(
        self,
        edit: Edit = list,
        *,
        header: Header | None = None,
        following: bytes | None = None,
        protection: ProtectionKeys | None = None,
        rands: Sequence[RANDR] = (),
    ) -> bytes:
        """Return the message edited, with a right MAC in its V payload, wherever that stands.

        *following* and *protection* replace what the MAC covers and its keys.
        """
        blank = empty_v(self.suite)
        payloads = [blank if type(item) is type(blank) else item for item in self.message.payloads]
        draft = Message.build(header or self.message.header, edit(payloads))
        keys = protection or self.protection(draft, rands)
        length = self.suite.mac_alg.length
        after = self.following if following is None else following
        if draft.header.data_type is DataType.TRANSFER_INIT:
            covered = transfer_init_coverage(draft, after)
        else:
            covered = draft.raw[:-length] + after
        return draft.raw[:-length] + compute_mac(
            self.suite.mac_alg, keys.auth_key(self.suite.mac_alg), covered
        )

    def resealed(self, octets: bytes) -> bytes:
        """Return *octets*, the message changed so that it need not parse, with a right MAC."""
        length = self.suite.mac_alg.length
        key = self.protection(self.message).auth_key(self.suite.mac_alg)
        return octets[:-length] + compute_mac(self.suite.mac_alg, key, octets[:-length] + self.following)

    def keys(self, rands: Sequence[RANDR] = ()) -> tuple[KeyData, ...]:
        """Return the keys in the message's KEMAC."""
        return open_keys(
            self.message.one(KEMAC),
            self.protection(self.message, rands),
            csb_id=self.message.header.csb_id,
            timestamp=self.message.one(T).timestamp,
            limits=DEFAULT_LIMITS,
            what=self.message.header.data_type.name,
        )

    def rekeyed(
        self,
        change: Callable[[tuple[KeyData, ...]], Sequence[KeyData]],
        rands: Sequence[RANDR],
        *,
        timestamp: Timestamp | None = None,
    ) -> bytes:
        """Return the response with other keys in its KEMAC, or with the IV of another *timestamp*."""
        sealed = seal_keys(
            change(self.keys(rands)),
            self.suite.encr_alg,
            self.protection(self.message, rands),
            csb_id=self.message.header.csb_id,
            timestamp=timestamp or self.message.one(T).timestamp,
        )
        return self.variant(replacing(KEMAC, lambda _: sealed), rands=rands)


def with_header(message: Message, **changes: Any) -> Header:
    """Return the header of a message with other fields."""
    return replace(message.header, **changes)
