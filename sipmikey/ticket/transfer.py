"""Ticket Transfer (RFC 6043 section 4.2.2), both sides, with key forking (section 5.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from sipmikey.keys.derivation import ProtectionKeys, initial_message_keys, response_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.keys.transport import seal_keys
from sipmikey.mikey.errors import (
    InvalidIdentity,
    InvalidTicket,
    LocalError,
    UnexpectedMessage,
)
from sipmikey.mikey.header import GenericIdEntry, Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, DataType, ErrorNo, IdRole, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, policies_by_number
from sipmikey.mikey.timestamp import T, Timestamp
from sipmikey.mikey.verification import EXT
from sipmikey.ticket.bundle import (
    CryptoSessionBundle,
    generic_ids,
    longest_key,
    session_rands,
    static_payloads,
)
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.error_message import ErrorMessage, build_error
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.protection import seal, verify
from sipmikey.ticket.replay import ReplayCache, ReplayKey
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import (
    Modifier,
    ResolvedTicket,
    fork_keys,
)
from sipmikey.ticket.transfer_message import (
    build_transfer_init,
    carried_keys,
    check_rands,
    id_data,
    joined_keys,
    own_keys,
    read_transfer_init,
    verify_transfer_init,
)


class TransferInitiator:
    """The Initiator's half. One TRANSFER_INIT, ``message``, gets any number of TRANSFER_RESPs."""

    def __init__(
        self, env: Environment, grant: TicketGrant, message: bytes, *, initiator: str, responder: str
    ) -> None:
        """Take up a TRANSFER_INIT made before; `start` makes one."""
        self._env = env
        self._grant = grant
        self._parsed = Message.parse(message, env.limits)
        self.message = message
        self._suite = suite_of(self._parsed.header.prf)
        self._rand_i = self._parsed.one(RANDR, RandRole.INITIATOR).rand
        self._identity_i = id_data(self._parsed, IdRole.INITIATOR, initiator)
        self._identity_r = id_data(self._parsed, IdRole.RESPONDER, responder)
        self._init_keys = initial_message_keys(
            Prf(self._suite.prf, grant.mpk_i), self._parsed.header.csb_id, rand_i=self._rand_i
        )

    @classmethod
    def start(
        cls,
        env: Environment,
        grant: TicketGrant,
        *,
        crypto_sessions: Sequence[GenericIdEntry],
        policies: Sequence[SP],
        initiator: str,
        responder: str,
        extensions: Sequence[EXT] = (),
        keys: Sequence[KeyData] = (),
        rand_i: bytes | None = None,
    ) -> Self:
        """Build TRANSFER_INIT.

        *keys* are sent in a KEMAC, which the policy must allow (L): with key forking, each party that
        resolves the ticket can read them. *rand_i* is given to repeat the RANDRi of a group's other transfers
        (RFC 6043 section 9); otherwise a fresh one is drawn. Raises `LocalError` where the policy forbids
        these keys.
        """
        policy = grant.policy
        if keys and not policy.flags.initiator_keys:
            raise LocalError("L is 0: the Initiator supplies no session keys")
        if not policy.flags.standard_initiator:
            raise LocalError("N is 0: the ticket needs processing that RFC 6043 does not define")
        policy.check_validity(env.now_ns())
        message = build_transfer_init(
            env, grant, crypto_sessions, policies, initiator, responder, extensions, keys, rand_i
        )
        return cls(env, grant, message, initiator=initiator, responder=responder)

    @property
    def csb_id(self) -> int:
        """The CSB ID of this transfer."""
        return self._parsed.header.csb_id

    @property
    def rand_i(self) -> bytes:
        """RANDRi, to be repeated in the other transfers of a group."""
        return self._rand_i

    @property
    def grant(self) -> TicketGrant:
        """The ticket and keys this transfer uses."""
        return self._grant

    def receive(self, data: bytes) -> CryptoSessionBundle:
        """Verify a TRANSFER_RESP and return the bundle with the branch that sent it.

        Raises `PeerReportedError` for an Error message, otherwise a `PeerError` that says what is wrong.
        Every answer is judged on its own: a bad one does not affect the others.
        """
        env, policy = self._env, self._grant.policy
        message = Message.parse(data, env.limits)
        header = message.header
        self._check_kind(message)
        entries = generic_ids(header)
        timestamp = message.one(T).timestamp
        env.check_timestamp(timestamp, "TRANSFER_RESP")
        rand_r = message.one(RANDR, RandRole.RESPONDER).rand if policy.flags.randr_r else b""
        mpk, keys, identity_r = self._branch_keys(message)
        check_rands(self._rand_i, rand_r, mpk, keys)
        protection = response_message_keys(
            Prf(self._suite.prf, mpk), header.csb_id, rand_i=self._rand_i, rand_r=rand_r
        )
        verify(message, self._suite, protection, self.message)
        carried = carried_keys(
            env, message, protection, allowed=policy.flags.responder_keys, what="TRANSFER_RESP"
        )
        own = own_keys(env, self._parsed, self._init_keys)
        policies = policies_by_number(self._parsed.all(SP)) | policies_by_number(message.all(SP))
        return CryptoSessionBundle(
            csb_id=self.csb_id,
            is_initiator=True,
            suite=self._suite,
            policy=policy,
            identity_i=self._identity_i,
            identity_r=identity_r,
            entries=entries,
            policies=policies,
            keys=joined_keys(keys, own, carried),
            rands=session_rands(policy, self._rand_i, rand_r),
            protection=protection,
            sent=self._parsed.one(T).timestamp,
            received=timestamp,
            static=static_payloads((*self._parsed.payloads, *message.payloads)),
        )

    def _check_kind(self, message: Message) -> None:
        """Raise where *message* is not a TRANSFER_RESP to this TRANSFER_INIT."""
        header = message.header
        if header.data_type is DataType.ERROR:
            raise ErrorMessage.read(
                self._env, message, self._parsed.header, self._suite, self._init_keys
            ).exception()
        if header.data_type is not DataType.TRANSFER_RESP:
            raise UnexpectedMessage(
                f"expected TRANSFER_RESP, got {header.data_type.name}", field="data type", offset=1
            )
        if not self._grant.policy.flags.response_sent:
            raise UnexpectedMessage("F is 0: no TRANSFER_RESP is sent", field="data type", offset=1)
        if (header.prf, header.csb_id) != (self._parsed.header.prf, self.csb_id):
            raise UnexpectedMessage("PRF func or CSB ID is not that of TRANSFER_INIT", field="HDR")

    def _branch_keys(self, message: Message) -> tuple[Secret, tuple[KeyData, ...], bytes]:
        """Return the MPK that protects this answer, its branch's session keys, and the answering identity."""
        grant = self._grant
        if grant.mpk_r is None:
            idr = message.find(IDR, IdRole.RESPONDER)
            return grant.mpk_i, grant.keys, self._identity_r if idr is None else idr.data
        idr = message.one(IDR, IdRole.RESPONDER)
        modifier = Modifier(idr=idr, rand_kms=message.one(RANDR, RandRole.KMS).rand)
        mpk, keys = fork_keys(grant.policy.suite, grant.mpk_r, grant.keys, modifier)
        return mpk, keys, idr.data

    def established(self) -> CryptoSessionBundle:
        """Return the bundle of a transfer without response (F is 0), described by TRANSFER_INIT alone."""
        grant, policy = self._grant, self._grant.policy
        if policy.flags.response_sent:
            raise LocalError("F is 1: the bundle is established by TRANSFER_RESP")
        own = own_keys(self._env, self._parsed, self._init_keys)
        return CryptoSessionBundle(
            csb_id=self.csb_id,
            is_initiator=True,
            suite=self._suite,
            policy=policy,
            identity_i=self._identity_i,
            identity_r=self._identity_r,
            entries=generic_ids(self._parsed.header),
            policies=policies_by_number(self._parsed.all(SP)),
            keys=joined_keys(grant.keys, own),
            rands=session_rands(policy, self._rand_i, b""),
            protection=self._init_keys,
            sent=self._parsed.one(T).timestamp,
            static=static_payloads(self._parsed.payloads),
        )


class TransferResponder:
    """The Responder's half: a TRANSFER_INIT, checked as far as possible before the ticket is resolved.

    ``policy`` is the Ticket Policy, ``initiator`` the maker of the message and ``responder`` the party
    called; do not trust them before `verify` has returned. ``crypto_sessions``, ``policies`` and
    ``extensions`` are what the Initiator offers.
    """

    def __init__(self, env: Environment, data: bytes, *, identity: str) -> None:
        """Parse and check early (RFC 6043 section 4.2.2.2). *identity* is this side's own.

        Raises `UnsupportedDataType` for another message, `UnexpectedMessage` for a CSB update,
        `InvalidTicket`, `InvalidTicketPolicy`, `TicketNotValid`, `InvalidTimestamp`,
        `InvalidSecurityPolicy` and `MalformedMessage` as their names say.
        """
        self._env = env
        read = read_transfer_init(env, data, identity)
        self.message = read.message
        self.ticket = read.ticket
        self.policy = read.policy
        self.timestamp = read.timestamp
        self.initiator = read.initiator
        self.responder = read.responder
        self.crypto_sessions = read.crypto_sessions
        self.policies = read.policies
        self.extensions = read.extensions
        self._suite = read.suite
        self._rand_i = read.rand_i
        self._identity_i = read.identity_i
        self._identity_r = read.identity_r
        self._resolved: ResolvedTicket | None = None
        self._own_keys: tuple[KeyData, ...] = ()

    def verify(self, resolved: ResolvedTicket, replay: ReplayCache | None = None) -> None:
        """Verify TRANSFER_INIT with the keys of the resolved ticket, and remember it in *replay*.

        Raises `AuthenticationFailure`, `ReplayedMessage`, `InvalidIdentity` when the ticket belongs to
        another Initiator, `InvalidTicket` when its policy is not the one it was resolved with, and
        `MalformedMessage` for keys that RFC 6043 forbids.
        """
        message, suite = self.message, self._suite
        if altered := self.policy.differences(resolved.policy):
            # The ticket's owner could otherwise put another IDRi into a ticket that is not resolved again.
            what = ", ".join(altered)
            raise InvalidTicket(f"not as in the ticket that was resolved: {what}", field="TICKET")
        protection = self._init_protection(resolved)
        verify_transfer_init(message, suite, protection, self._identity_i + self._identity_r)
        owner = self.policy.initiator
        if owner is not None and not same_identity(owner, self.initiator):
            raise InvalidIdentity(
                f"{self.initiator} uses a ticket of {owner}", field="IDRi", section="RFC 6043 section 12.4"
            )
        self._own_keys = carried_keys(
            self._env, message, protection, allowed=self.policy.flags.initiator_keys, what="TRANSFER_INIT"
        )
        if replay is not None:
            key = ReplayKey.of(self.initiator, self.timestamp, message.raw)
            replay.add(key, self.timestamp, self._env.now_ns())
        self._resolved = resolved

    def _init_protection(self, resolved: ResolvedTicket) -> ProtectionKeys:
        prf = Prf(self._suite.prf, resolved.mpk_i)
        return initial_message_keys(prf, self.message.header.csb_id, rand_i=self._rand_i)

    def _verified(self) -> ResolvedTicket:
        if self._resolved is None:
            raise LocalError("TRANSFER_INIT has not been verified")
        return self._resolved

    def session_keys(self) -> tuple[KeyData, ...]:
        """Return the session keys a crypto session may name: those of the ticket, then the Initiator's."""
        return joined_keys(self._verified().keys, self._own_keys)

    def respond(
        self,
        *,
        crypto_sessions: Sequence[GenericIdEntry],
        policies: Sequence[SP] = (),
        keys: Sequence[KeyData] = (),
    ) -> tuple[bytes, CryptoSessionBundle]:
        """Return TRANSFER_RESP and the bundle.

        *crypto_sessions* describe each session completely: one policy, Session Data and SPI. *policies* are
        further SP payloads that they name, *keys* further session keys, which the policy must allow (M).
        """
        env, policy, suite, resolved = self._env, self.policy, self._suite, self._verified()
        if not policy.flags.response_sent:
            raise LocalError("F is 0: no TRANSFER_RESP is sent")
        if keys and not policy.flags.responder_keys:
            raise LocalError("M is 0: the Responder supplies no session keys")
        header = Header(
            data_type=DataType.TRANSFER_RESP,
            prf=self.message.header.prf,
            csb_id=self.message.header.csb_id,
            map_type=CsIdMapType.GENERIC_ID if crypto_sessions else CsIdMapType.EMPTY,
            crypto_sessions=tuple(crypto_sessions),
        )
        session_keys = joined_keys(self.session_keys(), keys)
        timestamp = env.timestamp()
        mpk = resolved.mpk_i if resolved.mpk_r is None else resolved.mpk_r
        rand_r = self._fresh_rand_r(mpk, session_keys)
        protection = response_message_keys(
            Prf(suite.prf, mpk), header.csb_id, rand_i=self._rand_i, rand_r=rand_r
        )
        payloads: list[Payload] = [T(timestamp=timestamp)]
        if rand_r:
            payloads.append(RANDR(role=RandRole.RESPONDER, rand=rand_r))
        if resolved.answerer is not None:
            payloads.append(resolved.answerer)
        if resolved.modifier is not None:
            payloads.append(RANDR(role=RandRole.KMS, rand=resolved.modifier.rand_kms))
        payloads += policies
        if keys:
            payloads.append(
                seal_keys(keys, suite.encr_alg, protection, csb_id=header.csb_id, timestamp=timestamp)
            )
        answer = seal(header, payloads, suite, protection, self.message.raw)
        bundle = self._bundle(tuple(crypto_sessions), policies, session_keys, rand_r, protection, timestamp)
        return answer, bundle

    def _fresh_rand_r(self, mpk: Secret, keys: Sequence[KeyData]) -> bytes:
        if not self.policy.flags.randr_r:
            check_rands(self._rand_i, b"", mpk, keys)
            return b""
        return self._env.random(max(self._suite.rand_length, len(mpk), longest_key(keys)))

    def accept(self) -> CryptoSessionBundle:
        """Return the bundle of a transfer without response (F is 0)."""
        if self.policy.flags.response_sent:
            raise LocalError("F is 1: the Responder must send TRANSFER_RESP")
        resolved = self._verified()
        keys = self.session_keys()
        check_rands(self._rand_i, b"", resolved.mpk_i, keys)
        return self._bundle(self.crypto_sessions, (), keys, b"", self._init_protection(resolved), None)

    def _bundle(
        self,
        entries: tuple[GenericIdEntry, ...],
        policies: Sequence[SP],
        keys: tuple[KeyData, ...],
        rand_r: bytes,
        protection: ProtectionKeys,
        sent: Timestamp | None,
    ) -> CryptoSessionBundle:
        resolved = self._verified()
        answerer = resolved.answerer
        rands = [RANDR(role=RandRole.RESPONDER, rand=rand_r)] if rand_r else []
        if resolved.modifier is not None:
            rands.append(RANDR(role=RandRole.KMS, rand=resolved.modifier.rand_kms))
        return CryptoSessionBundle(
            csb_id=self.message.header.csb_id,
            is_initiator=False,
            suite=self._suite,
            policy=self.policy,
            identity_i=self._identity_i,
            identity_r=self._identity_r if answerer is None else answerer.data,
            entries=entries,
            policies=self.policies | policies_by_number(tuple(policies)),
            keys=keys,
            rands=session_rands(self.policy, self._rand_i, rand_r),
            protection=protection,
            sent=sent,
            received=self.timestamp,
            static=static_payloads((*self.message.payloads, *rands)),
        )

    def error(self, errors: Sequence[ErrorNo], supported: Sequence[SP] = ()) -> bytes:
        """Return an Error message about TRANSFER_INIT, authenticated once the ticket is resolved."""
        if self._resolved is None:
            return build_error(self._env, self.message.header, errors, supported=supported)
        protection = self._init_protection(self._resolved)
        return build_error(
            self._env,
            self.message.header,
            errors,
            suite=self._suite,
            protection=protection,
            supported=supported,
        )
