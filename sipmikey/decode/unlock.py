"""Verifying and decrypting described messages with the keys a user has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from sipmikey.decode.explain.node import Finding, Node
from sipmikey.decode.results import (
    Init,
    Names,
    OpenedMessage,
    key_group,
    open_kemac,
    proven,
    refuted,
    secret,
    unknown,
)
from sipmikey.decode.transfer import Transfers
from sipmikey.keys.certificate import load_certificate, rsa_public_key
from sipmikey.keys.derivation import initial_message_keys, response_message_keys
from sipmikey.keys.envelope import open_envelope
from sipmikey.keys.prf import Prf
from sipmikey.keys.signature import ACCEPTED_HASHES, verify_signature
from sipmikey.keys.suite import suite_of
from sipmikey.mikey.certificate import CERT, PKE, SIGN
from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType, IdRole, RandRole, SignatureType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.verification import V
from sipmikey.ticket.base_ticket import open_ticket
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.protection import verify


@dataclass(slots=True, kw_only=True)
class Unlocker:
    """Looks at messages in the order they were sent and learns keys on the way.

    ``psks``, ``tpks`` and ``kms_keys`` are the keys given. `look` returns what was proven or refuted of a
    message, and the keys found in it.
    """

    psks: Sequence[Secret] = ()
    tpks: Sequence[Secret] = ()
    kms_keys: Sequence[rsa.RSAPrivateKey] = ()
    names: Names = field(default_factory=Names)
    _inits: dict[int, Init] = field(default_factory=dict)
    _tickets: dict[bytes, OpenedMessage] = field(default_factory=dict)
    _shown: set[bytes] = field(default_factory=set)
    _transfers: Transfers = field(init=False)

    def __post_init__(self) -> None:
        self._transfers = Transfers(self.names)

    @property
    def has_keys(self) -> bool:
        """True where any key was given."""
        return bool(self.psks or self.tpks or self.kms_keys)

    def learn(self, messages: Sequence[Message]) -> None:
        """Look at all messages once for keys of tickets, which the KMS may give after a ticket was sent."""
        for message in messages:
            self.look(message)
        self._inits.clear()
        self._shown.clear()
        self._transfers = Transfers(self.names)

    def look(self, message: Message) -> tuple[list[Finding], list[Node]]:
        """Verify and decrypt what can be."""
        if not self.has_keys:
            return [], []
        findings: list[Finding] = []
        nodes: list[Node] = []
        try:
            for found in self._look(message):
                (findings if isinstance(found, Finding) else nodes).append(found)  # type: ignore[arg-type]
        except PeerError as error:
            findings.append(refuted(f"{error.reason}: {error.detail}", error.field or "message"))
        except SipmikeyError as error:
            findings.append(refuted(str(error), "message"))
        return findings, nodes

    def _look(self, message: Message) -> Iterator[Finding | Node]:
        for ticket in message.all(TICKET)[:1]:
            yield from self._open_ticket(ticket)
        kind = message.header.data_type
        if kind in (DataType.REQUEST_INIT_PSK, DataType.RESOLVE_INIT_PSK):
            yield from self._kms_init(message)
        elif kind in (DataType.REQUEST_INIT_PK, DataType.RESOLVE_INIT_PK):
            yield from self._kms_init_pk(message)
        elif kind in (DataType.REQUEST_RESP, DataType.RESOLVE_RESP):
            yield from self._kms_response(message)
        elif kind in (DataType.TRANSFER_INIT, DataType.TRANSFER_RESP):
            yield from self._transfers.look(message, self._tickets, bool(self.tpks))
        elif kind is DataType.ERROR:
            yield from self._error(message)

    def _error(self, message: Message) -> Iterator[Finding | Node]:
        """Verify an Error message with the keys of the message it is about."""
        csb_id = message.header.csb_id
        init = self._inits.get(csb_id) or self._transfers.init(csb_id)
        if not message.all(V):
            return
        if init is None:
            yield unknown("the message it is about was not seen or not verified")
            return
        verify(message, suite_of(message.header.prf), init.protection, b"")
        yield proven("the MAC verifies with the keys of the message it is about", "V")

    def _open_ticket(self, ticket: TICKET) -> Iterator[Finding | Node]:
        if ticket.ticket_data in self._shown:
            return
        policy = TicketPolicy.of(ticket)
        for tpk in self.tpks:
            try:
                contents = open_ticket(ticket, policy, TicketProtectionKey(key=tpk), DEFAULT_LIMITS)
            except PeerError:
                continue
            self._tickets[ticket.ticket_data] = OpenedMessage(
                mpk_i=contents.mpk_i, mpk_r=contents.mpk_r, keys=contents.keys
            )
            self._shown.add(ticket.ticket_data)
            yield proven(f"the ticket opens with the TPK {tpk.fingerprint()}", "TICKET")
            yield key_group("keys in the ticket", contents.keys, mpk_i=contents.mpk_i, mpk_r=contents.mpk_r)
            return
        if self.tpks:
            yield refuted("the ticket opens with none of the TPKs given", "TICKET")

    def _kms_init(self, message: Message) -> Iterator[Finding | Node]:
        request = message.header.data_type is DataType.REQUEST_INIT_PSK
        role, id_role = (
            (RandRole.INITIATOR, IdRole.INITIATOR) if request else (RandRole.RESPONDER, IdRole.RESPONDER)
        )
        rand = message.one(RANDR, role).rand
        rands = {"rand_i" if request else "rand_r": rand}
        following = self.names.of(message, id_role) + self.names.of(message, IdRole.KMS)
        suite = suite_of(message.header.prf)
        for psk in self.psks:
            protection = initial_message_keys(Prf(suite.prf, psk), message.header.csb_id, **rands)
            try:
                verify(message, suite, protection, following)
            except PeerError:
                continue
            self._inits[message.header.csb_id] = Init(message, psk, protection, **rands)
            yield proven(f"the MAC verifies with the PSK {psk.fingerprint()}", "V")
            return
        if self.psks:
            yield refuted("the MAC verifies with none of the PSKs given", "V")

    def _kms_init_pk(self, message: Message) -> Iterator[Finding | Node]:
        request = message.header.data_type is DataType.REQUEST_INIT_PK
        role, id_role = (
            (RandRole.INITIATOR, IdRole.INITIATOR) if request else (RandRole.RESPONDER, IdRole.RESPONDER)
        )
        following = self.names.of(message, id_role) + self.names.of(message, IdRole.KMS)
        sign = message.one(SIGN)
        certificates = message.all(CERT)
        if certificates and isinstance(sign.signature_type, SignatureType):
            verify_signature(
                rsa_public_key(load_certificate(certificates[0])),
                sign.signature,
                message.raw[: -len(sign.signature) or None] + following,
                hash_funcs=ACCEPTED_HASHES[message.header.prf],
                signature_type=sign.signature_type,
            )
            yield proven("the signature is of the certificate sent; its chain is not checked here", "SIGN")
        length = suite_of(message.header.prf).key_length
        data = message.one(PKE).data
        for key in self.kms_keys:
            if len(data) == (key.key_size + 7) // 8:
                # A key that does not fit is not told apart from one that does: the response will tell.
                opened = open_envelope(key, data, length=length, substitute=Secret(bytes(length)))
                rand = message.one(RANDR, role).rand
                rands = {"rand_i" if request else "rand_r": rand}
                prf = Prf(message.header.prf, opened)
                protection = initial_message_keys(prf, message.header.csb_id, **rands)
                self._inits[message.header.csb_id] = Init(message, opened, protection, **rands)
                yield Node(name="envelope", offset=0, children=[secret("envelope key", opened)])
                return

    def _kms_response(self, message: Message) -> Iterator[Finding | Node]:
        init = self._inits.get(message.header.csb_id)
        if init is None:
            if self.psks or self.kms_keys:
                yield unknown("the initial message, which the MAC covers, was not seen or not verified")
            return
        suite = suite_of(message.header.prf)
        protection = response_message_keys(
            Prf(suite.prf, init.inkey), message.header.csb_id, rand_i=init.rand_i, rand_r=init.rand_r
        )
        verify(message, suite, protection, init.message.raw)
        kind = "PSK" if init.inkey in self.psks else "envelope key"
        yield proven(f"the MAC verifies with the {kind} {init.inkey.fingerprint()}", "V")
        keys = open_kemac(message, protection)
        mpks = [key.key for key in keys if not key.key_type.is_session_key]
        sessions = tuple(key for key in keys if key.key_type.is_session_key)
        yield key_group(
            "keys from the KMS",
            sessions,
            mpk_i=mpks[0] if mpks else None,
            mpk_r=mpks[1] if mpks[1:] else None,
        )
        self._remember(message, init.message, mpks, sessions)

    def _remember(
        self, message: Message, init: Message, mpks: list[Secret], keys: tuple[KeyData, ...]
    ) -> None:
        if not mpks:
            return
        request = message.header.data_type is DataType.REQUEST_RESP
        tickets = (message if request else init).all(TICKET)
        if not tickets:
            return
        opened = self._tickets.setdefault(tickets[0].ticket_data, OpenedMessage(mpk_i=mpks[0]))
        second = mpks[1] if mpks[1:] else None
        if request:
            opened.mpk_r, opened.keys = second, keys
        elif tickets[0].flags.key_forking:
            opened.forked_mpk_r, opened.forked_keys = second, keys
        else:
            opened.keys = keys
