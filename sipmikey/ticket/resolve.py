"""Ticket Resolve (RFC 6043 section 4.2.3), both sides, and resolving without a KMS (modes 2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sipmikey.keys.derivation import fork_mpk_r, fork_tgk, initiator_data_keys
from sipmikey.keys.mac import compute_mac, verify_mac
from sipmikey.keys.suite import Suite
from sipmikey.mikey.errors import (
    InvalidTicketPolicy,
    MalformedMessage,
    NotAuthorized,
    UnsupportedDataType,
)
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import IdRole, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, decode_initiator_data, encode_initiator_data
from sipmikey.mikey.verification import V
from sipmikey.native import native
from sipmikey.ticket.base_ticket import TicketContents, open_ticket, ticket_id
from sipmikey.ticket.credentials import ClientCredential, TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import identity_text, uri_identity
from sipmikey.ticket.key_rules import check_transported_keys, split_mpks
from sipmikey.ticket.kms_exchange.client import KmsClientExchange
from sipmikey.ticket.kms_exchange.kind import TICKET_RESOLVE
from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.protection import empty_v
from sipmikey.ticket.request import mpk_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Modifier:
    """The values to which forked keys are bound: IDRr and RANDRkms (RFC 6043 section 5.1.1)."""

    idr: IDR
    rand_kms: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTicket:
    """The keys of a ticket as its Responder holds them.

    With key forking, ``mpk_r`` is MPKr', TGKs among ``keys`` are forked, and ``modifier`` says how. Without,
    ``answerer`` is the IDRr the KMS returned, if any, and is then repeated in TRANSFER_RESP.
    """

    policy: TicketPolicy
    mpk_i: Secret
    mpk_r: Secret | None
    keys: tuple[KeyData, ...]
    answerer: IDR | None = None
    modifier: Modifier | None = None


@native
def fork_keys(
    suite: Suite, mpk_r: Secret, keys: tuple[KeyData, ...], modifier: Modifier
) -> tuple[Secret, tuple[KeyData, ...]]:
    """Return MPKr' and the session keys with every TGK forked; salts, TEKs and GTGKs stay as they are.

    Raises `MalformedMessage` when RANDRkms is shorter than the longest key (RFC 6043 section 12.1).
    """
    longest = max(len(mpk_r), *(len(key.key) for key in keys if key.key_type.is_tgk), 0)
    if len(modifier.rand_kms) < longest:
        raise MalformedMessage(
            f"{len(modifier.rand_kms)} octets, the longest key has {longest}",
            field="RANDRkms",
            section="RFC 6043 section 12.1",
        )
    label = {"id_data": modifier.idr.data, "rand_kms": modifier.rand_kms}
    forked = tuple(
        replace(key, key=fork_tgk(suite.prf, key.key, **label)) if key.key_type.is_tgk else key
        for key in keys
    )
    return fork_mpk_r(suite.prf, mpk_r, **label), forked


def make_initiator_data(suite: Suite, vi: V, mpk_r: Secret) -> bytes:
    """Return Initiator Data: Vi, the V payload of TRANSFER_INIT, and Vr over it (RFC 6043 section 6.10)."""
    unsigned = encode_initiator_data((vi, empty_v(suite)))[: -suite.mac_alg.length]
    auth_key = initiator_data_keys(suite.prf, mpk_r).auth_key(suite.mac_alg)
    return unsigned + compute_mac(suite.mac_alg, auth_key, unsigned)


def read_initiator_data(ticket: TICKET, suite: Suite, limits: Limits) -> tuple[V, V]:
    """Return Vi and Vr; raise `MalformedMessage` unless V is there twice, the second time last."""
    payloads = decode_initiator_data(ticket.initiator_data, limits)
    found = [payload for payload in payloads if isinstance(payload, V)]
    if len(found) != 2 or payloads[-1] is not found[1]:
        raise MalformedMessage(
            "must hold Vi and, last, Vr", field="Initiator Data", section="RFC 6043 section 6.10"
        )
    for payload in found:
        suite.check_mac(payload.auth_alg, "Initiator Data V")
    return found[0], found[1]


@native
def check_initiator_data(ticket: TICKET, policy: TicketPolicy, mpk_r: Secret, limits: Limits) -> None:
    """Check, as the KMS, that the owner of the ticket made the Initiator Data.

    Raises `MalformedMessage`, or `AuthenticationFailure` when Vr does not verify. Initiator Data is there
    exactly with key forking (RFC 6043 section 6.10).
    """
    if not policy.flags.key_forking:
        if ticket.initiator_data:
            raise MalformedMessage("is there without key forking", field="Initiator Data")
        return
    suite = policy.suite
    _, vr = read_initiator_data(ticket, suite, limits)
    auth_key = initiator_data_keys(suite.prf, mpk_r).auth_key(vr.auth_alg)
    verify_mac(
        vr.auth_alg, auth_key, ticket.initiator_data[: -vr.auth_alg.length], vr.mac, "Initiator Data Vr"
    )


class TicketResolve:
    """The Responder's half: ask the KMS for the keys of a ticket. ``message`` is the RESOLVE_INIT."""

    def __init__(self, env: Environment, ticket: TICKET, exchange: KmsClientExchange) -> None:
        self._env = env
        self._policy = TicketPolicy.of(ticket, env.limits)
        self._exchange = exchange
        self.message = exchange.message

    @classmethod
    def start(
        cls,
        env: Environment,
        *,
        ticket: TICKET,
        credential: ClientCredential,
        identity: str,
        kms: str,
        suite: Suite | None = None,
    ) -> TicketResolve:
        """Ask *kms* to resolve *ticket* for *identity*; *suite* is the ticket's unless given."""
        exchange = KmsClientExchange.start(
            env,
            TICKET_RESOLVE,
            suite=suite or TicketPolicy.of(ticket, env.limits).suite,
            credential=credential,
            body=ticket,
            identity=identity,
            kms=kms,
        )
        return cls(env, ticket, exchange)

    def receive(self, data: bytes) -> ResolvedTicket:
        """Verify RESOLVE_RESP and return the keys; raises a `PeerError` that says what is wrong."""
        response = self._exchange.receive(data)
        policy = self._policy
        forking = policy.flags.key_forking
        check_transported_keys(response.keys, policy.suite, "RESOLVE_RESP")
        mpk_i, mpk_r, keys = split_mpks(response.keys, forking, "RESOLVE_RESP")
        policy.check_keys(keys)
        if not forking:
            answerer = response.message.find(IDR, IdRole.RESPONDER)
            return ResolvedTicket(policy=policy, mpk_i=mpk_i, mpk_r=None, keys=keys, answerer=answerer)
        idr = response.message.one(IDR, IdRole.RESPONDER)
        rand = response.message.one(RANDR, RandRole.KMS).rand
        modifier = Modifier(idr=idr, rand_kms=rand)
        return ResolvedTicket(
            policy=policy, mpk_i=mpk_i, mpk_r=mpk_r, keys=keys, answerer=idr, modifier=modifier
        )


class ResolveAtKms:
    """The KMS's half: a RESOLVE_INIT whose sender has been authenticated.

    ``identity`` is the Responder, ``policy`` the Ticket Policy, not to be trusted before `open` returned.
    """

    def __init__(self, env: Environment, authenticated: AuthenticatedInit) -> None:
        init = authenticated.init
        if init.kind is not TICKET_RESOLVE:
            raise UnsupportedDataType("expected RESOLVE_INIT", field="data type")
        self._env = env
        self._authenticated = authenticated
        self.identity = authenticated.identity
        self.ticket = init.message.one(TICKET)
        self.policy = TicketPolicy.of(self.ticket, env.limits)

    @property
    def ticket_id(self) -> str:
        """16 hexadecimal digits that name the ticket in logs."""
        return ticket_id(self.ticket)

    def open(self, tpk: TicketProtectionKey) -> TicketContents:
        """Verify and open the ticket, its validity and its Initiator Data.

        Raises `InvalidTicket`, `AuthenticationFailure`, `TicketNotValid` or `InvalidTicketPolicy`.
        """
        contents = open_ticket(self.ticket, self.policy, tpk, self._env.limits)
        self.policy.check_validity(self._env.now_ns())
        check_initiator_data(self.ticket, self.policy, contents.mpk_r, self._env.limits)
        return contents

    def respond(self, contents: TicketContents, *, answerer: str, kms: str) -> bytes:
        """Return RESOLVE_RESP with the keys, forked for *answerer* where the policy says so.

        *answerer* is the identity the KMS vouches for: the resolver's own, or the one of the resolver that
        the ticket names. Whether the resolver may have the keys has been decided before.
        """
        env, suite = self._env, self.policy.suite
        idr = uri_identity(IdRole.RESPONDER, answerer)
        before: list[Payload] = [uri_identity(IdRole.KMS, kms)]
        if not self.policy.flags.key_forking:
            keys = (mpk_data(env, contents.mpk_i), *contents.keys)
            return self._authenticated.respond(before, keys, [idr])
        longest = max(suite.rand_length, *(len(key.key) for key in contents.keys), 0)
        modifier = Modifier(idr=idr, rand_kms=env.random(longest))
        mpk_r, forked = fork_keys(suite, contents.mpk_r, contents.keys, modifier)
        keys = (mpk_data(env, contents.mpk_i), mpk_data(env, mpk_r), *forked)
        return self._authenticated.respond(
            before, keys, [idr, RANDR(role=RandRole.KMS, rand=modifier.rand_kms)]
        )


def resolve_locally(
    env: Environment, ticket: TICKET, tpk: TicketProtectionKey, *, identity: str
) -> ResolvedTicket:
    """Open a ticket at the Responder, which shares the TPK (modes 2 and 4, RFC 6043 section 4.1.1).

    Raises `InvalidTicketPolicy` when the policy makes the Ticket Resolve exchange mandatory (E) and
    `NotAuthorized` when *identity* is not among its responders.
    """
    policy = TicketPolicy.of(ticket, env.limits)
    if policy.flags.resolve_mandatory:
        raise InvalidTicketPolicy("E is 1: the KMS must resolve this ticket", field="TICKET flags")
    policy.check_validity(env.now_ns())
    if not policy.allows_responder(identity):
        raise NotAuthorized(
            f"the ticket is not for {identity}", field="IDRr", section="RFC 6043 section 6.10"
        )
    contents = open_ticket(ticket, policy, tpk, env.limits)
    return ResolvedTicket(policy=policy, mpk_i=contents.mpk_i, mpk_r=None, keys=contents.keys)


def answerer_text(resolved: ResolvedTicket) -> str | None:
    """Return the identity the KMS vouches for, as text."""
    return None if resolved.answerer is None else identity_text(resolved.answerer)
