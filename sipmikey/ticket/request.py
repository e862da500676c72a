"""Ticket Request (RFC 6043 section 4.2.1), both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import Suite
from sipmikey.mikey.errors import InvalidIdentity, InvalidTicketPolicy, LocalError, UnsupportedDataType
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.registry import IdRole, KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TP, TicketFlag, letters
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.native import native
from sipmikey.ticket.base_ticket import SPI_LENGTH, TicketContents, make_session_keys, seal_ticket, ticket_id
from sipmikey.ticket.credentials import ClientCredential, TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical, same_identity, uri_identity
from sipmikey.ticket.key_rules import check_transported_keys, split_mpks
from sipmikey.ticket.kms_exchange.client import KmsClientExchange
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST
from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit, KmsInit, build_response
from sipmikey.ticket.policy import TicketPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketGrant:
    """A ticket and the keys it encodes, as its Initiator holds them.

    ``mpk_r`` is there exactly with key forking; ``keys`` are the session keys before forking.
    """

    ticket: TICKET
    policy: TicketPolicy
    mpk_i: Secret
    mpk_r: Secret | None
    keys: tuple[KeyData, ...]

    @property
    def ticket_id(self) -> str:
        """16 hexadecimal digits that name the ticket in logs."""
        return ticket_id(self.ticket)


class TicketRequest:
    """The Initiator's half: ask the KMS for a ticket under a desired policy.

    ``message`` is the REQUEST_INIT, with PSK or PK after the credential's kind.
    """

    def __init__(self, env: Environment, policy: TicketPolicy, exchange: KmsClientExchange) -> None:
        self._env = env
        self._policy = policy
        self._exchange = exchange
        self.message = exchange.message

    @classmethod
    def start(
        cls,
        env: Environment,
        *,
        policy: TicketPolicy,
        credential: ClientCredential,
        identity: str,
        kms: str,
        suite: Suite | None = None,
    ) -> TicketRequest:
        """Ask for *policy*; *suite* protects the exchange and is the policy's unless given.

        Raises `LocalError` when the policy is for a ticket the KMS does not make (D is 0).
        """
        if not policy.flags.kms_generated:
            raise LocalError("a ticket with D = 0 is made by the Initiator, not asked for")
        exchange = KmsClientExchange.start(
            env,
            TICKET_REQUEST,
            suite=suite or policy.suite,
            credential=credential,
            body=policy.tp(),
            identity=identity,
            kms=kms,
        )
        return cls(env, policy, exchange)

    def receive(self, data: bytes) -> TicketGrant:
        """Verify REQUEST_RESP and return the grant.

        Raises a `PeerError`: `PeerReportedError` for an Error message, `InvalidTicketPolicy` for a granted
        policy that contradicts itself, and other subclasses. Whether a changed policy (K) is acceptable is
        checked by `check_acceptable`, before the grant is used; `changes` names the differences.
        """
        response = self._exchange.receive(data)
        ticket = response.message.one(TICKET)
        policy = TicketPolicy.of(ticket, self._env.limits)
        check_transported_keys(response.keys, policy.suite, "REQUEST_RESP")
        mpk_i, mpk_r, keys = split_mpks(response.keys, policy.flags.key_forking, "REQUEST_RESP")
        policy.check_keys(keys)
        if not policy.flags.kms_generated:
            raise InvalidTicketPolicy("D is 0 in a ticket of the KMS", field="TICKET flags")
        policy.check_validity_order()
        return TicketGrant(ticket=ticket, policy=policy, mpk_i=mpk_i, mpk_r=mpk_r, keys=keys)

    def check_acceptable(self, grant: TicketGrant) -> None:
        """Raise `InvalidTicketPolicy` when the grant protects less than was asked for."""
        check_acceptable(self._policy, grant.policy)

    def changes(self, grant: TicketGrant) -> tuple[str, ...]:
        """Name the fields in which the granted policy differs from the desired one."""
        return policy_changes(self._policy, grant.policy)


_KEPT_FLAGS = TicketFlag.D | TicketFlag.E | TicketFlag.F | TicketFlag.G | TicketFlag.H | TicketFlag.I


def check_acceptable(desired: TicketPolicy, granted: TicketPolicy) -> None:
    """Raise `InvalidTicketPolicy` when a granted policy protects less than the desired one.

    The KMS may narrow a policy: fewer responders, a shorter validity, no reuse (J), no keys of either side
    (L, M), a shorter rekeying interval. It may not drop the exchanges and RANDs asked for (D to H) or key
    forking (I), change the suite or the Initiator, let others resolve, or let the ticket live longer.
    RFC 6043 section 4.2.1.6.
    """
    wrong = None
    asked, given = int(desired.flags.bits), int(granted.flags.bits)
    if asked & ~given & _KEPT_FLAGS:
        wrong = f"flags {letters(asked & ~given & _KEPT_FLAGS)} were dropped"
    elif granted.suite is not desired.suite:
        wrong = f"the suite is {granted.suite.name}"
    elif desired.initiator and not same_identity(desired.initiator, granted.initiator or ""):
        wrong = f"the Initiator is {granted.initiator}"
    elif others := [item for item in granted.responders if not desired.allows_responder(item)]:
        wrong = f"{', '.join(others)} may resolve it too"
    elif _later(granted.valid_until, desired.valid_until):
        wrong = "it is valid for longer"
    elif desired.applications and not set(granted.applications) <= set(desired.applications):
        wrong = "it is for other applications"
    if wrong is not None:
        raise InvalidTicketPolicy(
            f"the granted policy is not acceptable: {wrong}",
            field="TICKET",
            section="RFC 6043 section 4.2.1.6",
        )


def _later(granted: Timestamp | None, desired: Timestamp | None) -> bool:
    if desired is None:
        return False
    return granted is None or granted.unix_ns() > desired.unix_ns()


def policy_changes(desired: TicketPolicy, granted: TicketPolicy) -> tuple[str, ...]:
    """Name the fields in which two policies differ, leaving out the K flag and the desired KEMAC.

    A validity limit or identity the Initiator left open and the KMS filled in does not count.
    """
    found = []
    if str(desired.flags) != str(granted.flags).replace("K", ""):
        found.append("flags")
    if desired.suite is not granted.suite:
        found.append("suite")
    if sorted(map(canonical_or_same, desired.responders)) != sorted(
        map(canonical_or_same, granted.responders)
    ):
        found.append("responders")
    if sorted(desired.applications) != sorted(granted.applications):
        found.append("applications")
    for name in ("kms", "initiator"):
        wanted, given = getattr(desired, name), getattr(granted, name)
        if wanted is not None and (given is None or not same_identity(wanted, given)):
            found.append(name)
    for name in ("valid_from", "valid_until", "rekeying_interval_s"):
        wanted, given = getattr(desired, name), getattr(granted, name)
        if wanted is not None and wanted != given:
            found.append(name)
    return tuple(found)


def is_uri(text: str) -> bool:
    """Return whether *text* is a URI that has a canonical form."""
    try:
        canonical(text)
    except LocalError:
        return False
    return True


def canonical_or_same(uri: str) -> str:
    """Return the canonical form of a URI, and other text (such as a wildcard) unchanged."""
    try:
        return canonical(uri)
    except LocalError:
        return uri


class RequestAtKms:
    """The KMS's half: a REQUEST_INIT whose sender has been authenticated.

    ``identity`` is the Initiator, ``policy`` the Ticket Policy it desires.
    """

    def __init__(self, env: Environment, authenticated: AuthenticatedInit) -> None:
        init = authenticated.init
        if init.kind is not TICKET_REQUEST:
            raise UnsupportedDataType("expected REQUEST_INIT", field="data type")
        self._env = env
        self._authenticated = authenticated
        self.identity = authenticated.identity
        self.policy = TicketPolicy.of(init.message.one(TP), env.limits)
        self._check_identities()

    def _check_identities(self) -> None:
        policy = self.policy
        named = (policy.kms, policy.initiator, *policy.responders, *policy.applications)
        for identity in named:
            if identity is not None and not is_uri(identity):
                raise InvalidIdentity(f"{identity!r} is not a URI", field="TP IDR")

    def grant(
        self,
        policy: TicketPolicy,
        tpk: TicketProtectionKey,
        *,
        kms: str,
        keys: Sequence[KeyData] | None = None,
    ) -> tuple[bytes, TicketGrant]:
        """Make a ticket under *policy* and return REQUEST_RESP and the grant.

        *keys* are the session keys to encode; None draws the ones the policy asks for. The policy's own
        ``requested_keys`` are left out of the ticket.
        """
        authenticated = self._authenticated
        return grant_ticket(self._env, authenticated.init, authenticated.prf, policy, tpk, kms, keys)


@native
def grant_ticket(
    env: Environment,
    init: KmsInit,
    prf: Prf,
    policy: TicketPolicy,
    tpk: TicketProtectionKey,
    kms: str,
    keys: Sequence[KeyData] | None,
) -> tuple[bytes, TicketGrant]:
    """Make a ticket and the response to *init*, whose sender's key *prf* is, as `RequestAtKms.grant` says."""
    granted = policy.without_requested_keys()
    session_keys = make_session_keys(env, policy.requested_keys) if keys is None else tuple(keys)
    ticket, contents = seal_ticket(env, granted, tpk, session_keys)
    mpks_and_keys = transport_keys(env, contents, granted.flags.key_forking)
    response = build_response(env, init, prf, [uri_identity(IdRole.KMS, kms), ticket], mpks_and_keys, ())
    return response, grant_of(ticket, granted, contents)


def transport_keys(env: Environment, contents: TicketContents, forking: bool) -> tuple[KeyData, ...]:
    """Return the key data of REQUEST_RESP: MPKi, MPKr with key forking, and the session keys."""
    mpks = (contents.mpk_i, contents.mpk_r) if forking else (contents.mpk_i,)
    return (*(mpk_data(env, mpk) for mpk in mpks), *contents.keys)


@native
def mpk_data(env: Environment, mpk: Secret) -> KeyData:
    """Return an MPK as key data, with an SPI as every key has one."""
    return KeyData(key_type=KeyDataType.MPK, key=mpk, spi=env.random(SPI_LENGTH))


def grant_of(ticket: TICKET, policy: TicketPolicy, contents: TicketContents) -> TicketGrant:
    """Return the grant of a ticket this side made."""
    return TicketGrant(
        ticket=ticket,
        policy=policy,
        mpk_i=contents.mpk_i,
        mpk_r=contents.mpk_r if policy.flags.key_forking else None,
        keys=contents.keys,
    )


def make_ticket(env: Environment, policy: TicketPolicy, tpk: TicketProtectionKey) -> TicketGrant:
    """Make a ticket at the Initiator, without asking the KMS (modes 3 and 4, RFC 6043 section 4.1.1).

    *policy* has D = 0 and its ``requested_keys`` are drawn here.
    """
    if policy.flags.kms_generated:
        raise LocalError("a ticket made by the Initiator has D = 0")
    granted = policy.without_requested_keys()
    keys = make_session_keys(env, policy.requested_keys)
    ticket, contents = seal_ticket(env, granted, tpk, keys)
    return grant_of(ticket, granted, contents)
