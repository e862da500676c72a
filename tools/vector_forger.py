"""Changing the messages of an exchange vector and protecting them again with its keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sipmikey.conformance.forge import Edit, replacing
from sipmikey.keys.derivation import (
    ProtectionKeys,
    initial_message_keys,
    response_message_keys,
    ticket_keys,
)
from sipmikey.keys.mac import compute_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.keys.transport import open_keys, seal_keys
from sipmikey.mikey.header import GenericIdEntry, Header
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message, one_payload
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RAND, RANDR
from sipmikey.mikey.registry import KeyDataType, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, decode_ticket_data
from sipmikey.mikey.timestamp import T
from sipmikey.vectors.exchange import Rehearsal

Vector = dict[str, object]


class Forger:
    """Changes messages of one exchange and protects them again with its keys."""

    def __init__(self, base: Vector) -> None:
        self.base = base
        self.rehearsal = Rehearsal(base)

    def message(self, name: str) -> Message:
        return Message.parse(self.rehearsal.raw(name))

    def inkey(self, name: str) -> Secret:
        if name in ("request_init", "request_resp"):
            return self.rehearsal.inkey("initiator", "request_init")
        if name in ("resolve_init", "resolve_resp"):
            return self.rehearsal.inkey("responder", "resolve_init")
        return self.rehearsal.grant.mpk_i

    def protection(self, name: str, message: Message) -> ProtectionKeys:
        """Return the keys that protect *message* in the place of *name*."""
        if name.startswith("update"):
            return self.rehearsal.bundle.protection
        if name == "transfer_resp" and self.rehearsal.grant.mpk_r is not None:
            return self.rehearsal.transfer_resp.protection
        init = message if name.endswith("_init") else self.message(name.replace("_resp", "_init"))
        rands = {
            "rand_i" if item.role == RandRole.INITIATOR else "rand_r": item.rand
            for item in (*init.all(RANDR), *message.all(RANDR))
            if item.role in (RandRole.INITIATOR, RandRole.RESPONDER)
        }
        derive = initial_message_keys if name.endswith("_init") else response_message_keys
        return derive(Prf(message.header.prf, self.inkey(name)), message.header.csb_id, **rands)

    def following(self, name: str) -> bytes:
        """Return what the MAC covers after the message."""
        if name.endswith("_resp"):
            return self.rehearsal.raw(name.replace("_resp", "_init"))
        identities = {
            "request_init": (self.rehearsal.initiator, self.rehearsal.kms),
            "resolve_init": (self.rehearsal.answerer, self.rehearsal.kms),
        }.get(name, (self.rehearsal.initiator, self.rehearsal.responder))
        return "".join(identities).encode()

    def sealed(
        self,
        name: str,
        payloads: Sequence[Payload],
        *,
        header: Header | None = None,
        following: bytes | None = None,
    ) -> bytes:
        """Return a message with a right MAC in its last payload."""
        original = self.message(name)
        message = Message.build(header or original.header, payloads)
        suite = suite_of(message.header.prf)
        after = self.following(name) if following is None else following
        auth_key = self.protection(name, message).auth_key(suite.mac_alg)
        length = suite.mac_alg.length
        covered = message.without_initiator_data() if name == "transfer_init" else message.raw
        mac = compute_mac(suite.mac_alg, auth_key, covered[:-length] + after)
        return message.raw[:-length] + mac

    def edited(self, name: str, edit: Edit, **options: Any) -> bytes:
        """Return the message *name* with its payloads edited."""
        return self.sealed(name, edit(list(self.message(name).payloads)), **options)

    def rekeyed(self, name: str, change: Callable[[tuple[KeyData, ...]], Sequence[KeyData]]) -> bytes:
        """Return the message *name* with other keys in its KEMAC."""
        message = self.message(name)
        kemac, timestamp = message.one(KEMAC), message.one(T).timestamp
        protection = self.protection(name, message)
        keys = open_keys(
            kemac, protection, csb_id=message.header.csb_id, timestamp=timestamp,
            limits=self.rehearsal.env.limits, what=name,
        )  # fmt: skip
        sealed = seal_keys(
            change(keys), kemac.encr_alg, protection, csb_id=message.header.csb_id, timestamp=timestamp
        )
        return self.edited(name, replacing(KEMAC, lambda _: sealed))

    def with_kemac(self, name: str) -> bytes:
        """Return the message *name* with a KEMAC it may not have."""
        message = self.message(name)
        key = KeyData(key_type=KeyDataType.TGK, key=Secret(b"k" * 16), spi=b"spi!")
        sealed = seal_keys(
            [key], suite_of(message.header.prf).encr_alg, self.protection(name, message),
            csb_id=message.header.csb_id, timestamp=message.one(T).timestamp,
        )  # fmt: skip
        return self.edited(name, lambda payloads: [*payloads[:-1], sealed, payloads[-1]])

    def with_entries(self, name: str, change: Callable[[GenericIdEntry], GenericIdEntry]) -> bytes:
        """Return the message *name* with other crypto sessions."""
        message = self.message(name)
        entries = tuple(change(entry) for entry in message.header.generic_ids())
        header = replace(message.header, crypto_sessions=entries)
        return self.sealed(name, message.payloads, header=header)

    def reticketed(self, edit: Edit | None = None, **changes: Any) -> bytes:
        """Return TRANSFER_INIT with another Ticket Policy, the ticket's own MAC right."""
        sealed = self.ticket(edit, **changes)
        return self.edited("transfer_init", replacing(TICKET, lambda _: sealed))

    def ticket(self, edit: Edit | None = None, **changes: Any) -> TICKET:
        """Return the ticket of TRANSFER_INIT with another Ticket Policy and a right MAC."""
        ticket = self.message("transfer_init").one(TICKET)
        fields = {
            "ticket_type": ticket.ticket_type,
            "subtype": ticket.subtype,
            "version": ticket.version,
            "prf": ticket.prf,
            "flags": ticket.flags,
            "payloads": tuple(ticket.payloads if edit is None else edit(list(ticket.payloads))),
        } | changes
        suite = suite_of(ticket.prf)
        length = suite.mac_alg.length
        _, payloads, _ = decode_ticket_data(ticket.ticket_data, self.rehearsal.env.limits)
        protection = ticket_keys(self.rehearsal.tpk.prf(suite.prf), one_payload(payloads, RAND).rand)
        draft = TICKET(**fields, ticket_data=ticket.ticket_data)  # type: ignore[arg-type]
        size = len(ticket.ticket_data).to_bytes(2, "big")
        covered = draft.policy_octets + size + ticket.ticket_data[:-length]
        mac = compute_mac(suite.mac_alg, protection.auth_key(suite.mac_alg), covered)
        return TICKET(**fields, ticket_data=ticket.ticket_data[:-length] + mac)  # type: ignore[arg-type]
