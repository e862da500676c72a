"""Verifying and decrypting described messages with the keys a user has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from sipmikey.cli.explain.node import Finding, Node
from sipmikey.keys.certificate import load_certificate, rsa_public_key
from sipmikey.keys.derivation import ProtectionKeys, initial_message_keys, response_message_keys
from sipmikey.keys.envelope import open_envelope
from sipmikey.keys.mac import verify_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.signature import ACCEPTED_HASHES, verify_signature
from sipmikey.keys.suite import suite_of
from sipmikey.keys.transport import open_keys
from sipmikey.mikey.certificate import CERT, PKE, SIGN
from sipmikey.mikey.errors import LocalError, PeerError, SipmikeyError
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType, EncrAlg, IdRole, RandRole, SignatureType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, policies_by_number
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V
from sipmikey.ticket.base_ticket import open_ticket
from sipmikey.ticket.bundle import derive_crypto_session, session_rands
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.protection import verify
from sipmikey.ticket.resolve import Modifier, check_initiator_data, fork_keys
from sipmikey.ticket.transfer_message import transfer_init_coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names for identities that messages leave out, as ID Data."""

    initiator: bytes = b""
    responder: bytes = b""
    kms: bytes = b""

    def of(self, message: Message, role: IdRole) -> bytes:
        """Return the ID Data of a role: as sent, or as known here."""
        found = message.all(IDR, role)
        if found:
            return found[0].data
        return {IdRole.INITIATOR: self.initiator, IdRole.RESPONDER: self.responder, IdRole.KMS: self.kms}[
            role
        ]


@dataclass(slots=True, kw_only=True)
class _Opened:
    """The keys of a ticket: from the TPK or the KMS before forking, or forked from RESOLVE_RESP."""

    mpk_i: Secret
    mpk_r: Secret | None = None
    keys: tuple[KeyData, ...] = ()
    forked_mpk_r: Secret | None = None
    forked_keys: tuple[KeyData, ...] = ()


@dataclass(slots=True)
class _Init:
    """An initial message that was seen, the key it is protected with, and how it is used."""

    message: Message
    inkey: Secret
    rand_i: bytes = b""
    rand_r: bytes = b""


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
    _inits: dict[int, _Init] = field(default_factory=dict)
    _tickets: dict[bytes, _Opened] = field(default_factory=dict)

    @property
    def has_keys(self) -> bool:
        """Whether any key was given."""
        return bool(self.psks or self.tpks or self.kms_keys)

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
            findings.append(_refuted(f"{error.reason}: {error.detail}", error.field or "message"))
        except SipmikeyError as error:
            findings.append(_refuted(str(error), "message"))
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
        elif kind is DataType.TRANSFER_INIT and message.all(TICKET):
            yield from self._transfer_init(message)
        elif kind is DataType.TRANSFER_RESP:
            yield from self._transfer_resp(message)

    def _open_ticket(self, ticket: TICKET) -> Iterator[Finding | Node]:
        if ticket.ticket_data in self._tickets and self._tickets[ticket.ticket_data].mpk_r is not None:
            return
        policy = TicketPolicy.of(ticket)
        for tpk in self.tpks:
            try:
                contents = open_ticket(ticket, policy, TicketProtectionKey(key=tpk), DEFAULT_LIMITS)
            except PeerError:
                continue
            self._tickets[ticket.ticket_data] = _Opened(
                mpk_i=contents.mpk_i, mpk_r=contents.mpk_r, keys=contents.keys
            )
            yield _proven(f"the ticket opens with the TPK {tpk.fingerprint()}", "TICKET")
            yield _keys("keys in the ticket", contents.keys, mpk_i=contents.mpk_i, mpk_r=contents.mpk_r)
            return
        if self.tpks:
            yield _refuted("the ticket opens with none of the TPKs given", "TICKET")

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
            self._inits[message.header.csb_id] = _Init(message, psk, **rands)
            yield _proven(f"the MAC verifies with the PSK {psk.fingerprint()}", "V")
            return
        if self.psks:
            yield _refuted("the MAC verifies with none of the PSKs given", "V")

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
            yield _proven("the signature is of the certificate sent; its chain is not checked here", "SIGN")
        length = suite_of(message.header.prf).key_length
        data = message.one(PKE).data
        for key in self.kms_keys:
            if len(data) == (key.key_size + 7) // 8:
                # A key that does not fit is not told apart from one that does: the response will tell.
                opened = open_envelope(key, data, length=length, substitute=Secret(bytes(length)))
                rand = message.one(RANDR, role).rand
                rands = {"rand_i" if request else "rand_r": rand}
                self._inits[message.header.csb_id] = _Init(message, opened, **rands)
                yield _secret("envelope key", opened)
                return

    def _kms_response(self, message: Message) -> Iterator[Finding | Node]:
        init = self._inits.get(message.header.csb_id)
        if init is None:
            if self.psks or self.kms_keys:
                yield _unknown("the initial message, which the MAC covers, was not seen or not verified")
            return
        suite = suite_of(message.header.prf)
        protection = response_message_keys(
            Prf(suite.prf, init.inkey), message.header.csb_id, rand_i=init.rand_i, rand_r=init.rand_r
        )
        verify(message, suite, protection, init.message.raw)
        kind = "PSK" if init.inkey in self.psks else "envelope key"
        yield _proven(f"the MAC verifies with the {kind} {init.inkey.fingerprint()}", "V")
        keys = _open(message, protection)
        mpks = [key.key for key in keys if not key.key_type.is_session_key]
        sessions = tuple(key for key in keys if key.key_type.is_session_key)
        yield _keys(
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
        opened = self._tickets.setdefault(tickets[0].ticket_data, _Opened(mpk_i=mpks[0]))
        second = mpks[1] if mpks[1:] else None
        if request:
            opened.mpk_r, opened.keys = second, keys
        elif tickets[0].flags.key_forking:
            opened.forked_mpk_r, opened.forked_keys = second, keys
        else:
            opened.keys = keys

    def _transfer_init(self, message: Message) -> Iterator[Finding | Node]:
        ticket = message.one(TICKET)
        opened = self._tickets.get(ticket.ticket_data)
        if opened is None:
            if not self.tpks:
                yield _unknown("the MAC is of a key in the ticket, which none of the keys given opens")
            return
        suite = suite_of(message.header.prf)
        rand = message.one(RANDR, RandRole.INITIATOR).rand
        protection = initial_message_keys(Prf(suite.prf, opened.mpk_i), message.header.csb_id, rand_i=rand)
        policy = TicketPolicy.of(ticket)
        known = (policy.initiator or "").encode()
        names = Names(initiator=known or self.names.initiator, responder=self.names.responder)
        following = names.of(message, IdRole.INITIATOR) + names.of(message, IdRole.RESPONDER)
        v = message.one(V)
        covered = transfer_init_coverage(message, following)
        verify_mac(v.auth_alg, protection.auth_key(v.auth_alg), covered, v.mac, "V")
        yield _proven("the MAC verifies with the ticket's MPKi", "V")
        if opened.mpk_r is not None and policy.flags.key_forking:
            check_initiator_data(ticket, policy, opened.mpk_r, DEFAULT_LIMITS)
            yield _proven("Initiator Data verifies: the owner of the ticket sent it", "Initiator Data")
        if message.all(KEMAC):
            yield _keys("keys of the Initiator", _open(message, protection))
        self._inits[message.header.csb_id] = _Init(message, opened.mpk_i, rand_i=rand)

    def _transfer_resp(self, message: Message) -> Iterator[Finding | Node]:
        init = self._inits.get(message.header.csb_id)
        if init is None or not init.message.all(TICKET):
            yield _unknown("the TRANSFER_INIT, which the MAC covers, was not seen or not verified")
            return
        ticket = init.message.one(TICKET)
        policy = TicketPolicy.of(ticket)
        mpk, keys = self._branch(message, self._tickets[ticket.ticket_data], policy)
        suite = suite_of(message.header.prf)
        rand_r = message.one(RANDR, RandRole.RESPONDER).rand if policy.flags.randr_r else b""
        protection = response_message_keys(
            Prf(suite.prf, mpk), message.header.csb_id, rand_i=init.rand_i, rand_r=rand_r
        )
        verify(message, suite, protection, init.message.raw)
        yield _proven("the MAC verifies with the branch's MPK", "V")
        carried = _open(message, protection) if message.all(KEMAC) else ()
        if carried:
            yield _keys("keys of the Responder", carried)
        policies = policies_by_number(init.message.all(SP)) | policies_by_number(message.all(SP))
        rands = session_rands(policy, init.rand_i, rand_r)
        sessions = [
            derive_crypto_session(entry, policies, (*keys, *carried), suite, rands)
            for entry in message.header.generic_ids()
        ]
        group = Node(name="SRTP keys", offset=0, section="RFC 6043 5.1.3")
        for session in sessions:
            group.children += [
                _secret(f"crypto session {session.cs_id} master key", session.master_key),
                _secret(f"crypto session {session.cs_id} master salt", session.master_salt),
            ]
        yield group

    def _branch(
        self, message: Message, opened: _Opened, policy: TicketPolicy
    ) -> tuple[Secret, tuple[KeyData, ...]]:
        """Return the MPK and session keys of the branch that answered."""
        if not policy.flags.key_forking:
            return opened.mpk_i, opened.keys
        if opened.mpk_r is not None:
            modifier = Modifier(
                idr=message.one(IDR, IdRole.RESPONDER), rand_kms=message.one(RANDR, RandRole.KMS).rand
            )
            return fork_keys(policy.suite, opened.mpk_r, opened.keys, modifier)
        if opened.forked_mpk_r is None:
            raise LocalError("the forked keys of this branch are not known")
        return opened.forked_mpk_r, opened.forked_keys


def _open(message: Message, protection: ProtectionKeys) -> tuple[KeyData, ...]:
    kemac = message.one(KEMAC)
    if kemac.encr_alg is EncrAlg.NULL:
        return ()
    return open_keys(
        kemac,
        protection,
        csb_id=message.header.csb_id,
        timestamp=message.one(T).timestamp,
        limits=DEFAULT_LIMITS,
        what=message.header.data_type.name,
    )


def _proven(detail: str, where: str) -> Finding:
    return Finding(kind="proof", detail=detail, field=where)


def _refuted(detail: str, where: str) -> Finding:
    return Finding(kind="error", detail=detail, field=where)


def _unknown(detail: str) -> Finding:
    return Finding(kind="warning", detail=f"not verified: {detail}", field="V")


def _secret(name: str, value: Secret) -> Node:
    return Node(
        name=name,
        offset=0,
        length=len(value),
        value=value.reveal().hex(),
        meaning=f"fingerprint {value.fingerprint()}",
        secret=True,
    )


def _keys(
    name: str, keys: Sequence[KeyData], *, mpk_i: Secret | None = None, mpk_r: Secret | None = None
) -> Node:
    group = Node(name=name, offset=0, section="RFC 6043 6.2.1")
    if mpk_i is not None:
        group.children.append(_secret("MPKi", mpk_i))
    if mpk_r is not None:
        group.children.append(_secret("MPKr", mpk_r))
    for key in keys:
        spi = f" SPI {key.spi.hex()}" if key.spi else ""
        group.children.append(_secret(f"{key.key_type.name}{spi}", key.key))
        if key.salt is not None:
            group.children.append(_secret(f"salt of{spi}", key.salt))
    return group
