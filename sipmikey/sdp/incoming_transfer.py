"""A received TRANSFER_INIT, from its early checks to its TRANSFER_RESP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sipmikey.mikey.errors import InvalidIdentity, InvalidTicketPolicy, LocalError
from sipmikey.mikey.header import GenericIdEntry
from sipmikey.mikey.security_policy import SP
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.sdp.crypto import KeyExchange, check_spi, choose_policy, completed, preferred_spi, with_ssrc
from sipmikey.sdp.local import random_ssrc
from sipmikey.sdp.mapping import MediaStream, pair_sessions
from sipmikey.sdp.protocols import check_protocols
from sipmikey.sdp.remote import CarriedMessage
from sipmikey.sdp.suite import SrtpSuite, usable
from sipmikey.ticket.credentials import ClientCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical, same_identity
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.resolve import ResolvedTicket, TicketResolve
from sipmikey.ticket.shared_keys import SharedTicketKey, resolve_with
from sipmikey.ticket.transfer import TransferResponder


class IncomingTransfer:
    """One TRANSFER_INIT of an offer and the m-lines it covers.

    ``initiator`` and ``called`` are the identities it names, ``offered_suites`` the acceptable ones.
    """

    def __init__(
        self,
        env: Environment,
        responder: TransferResponder,
        carried: CarriedMessage,
        *,
        identity: str,
        suites: tuple[SrtpSuite, ...],
    ) -> None:
        self._env = env
        self._responder = responder
        self._carried = carried
        self._identity = identity
        self._suites = suites
        self._resolve: TicketResolve | None = None
        self._pairs = pair_sessions(tuple(entry.cs_id for entry in responder.crypto_sessions), carried.covers)
        self._entries = {entry.cs_id: entry for entry in responder.crypto_sessions}
        self._spi = b""
        self.verified = False
        self.offered_suites = self._acceptable()

    @classmethod
    def read(
        cls,
        env: Environment,
        carried: CarriedMessage,
        *,
        protocols: tuple[str, ...],
        identities: Sequence[str],
        suites: Sequence[SrtpSuite],
    ) -> IncomingTransfer:
        """Parse and check everything that needs no key (RFC 6043 section 4.2.2.2). Raises a `PeerError`."""
        responder = TransferResponder(env, carried.message, identity=identities[0])
        check_protocols(responder.extensions, protocols)
        policy = responder.policy
        if not policy.flags.response_sent:
            raise InvalidTicketPolicy("F is 0: a call needs TRANSFER_RESP", field="TICKET flags")
        if policy.kms is not None:
            _check_uri(policy.kms, "IDRkms")
        identity = next((own for own in identities if same_identity(own, responder.responder)), identities[0])
        strength = policy.suite.key_length * 8
        return cls(env, responder, carried, identity=identity, suites=_acceptable(suites, strength))

    @property
    def initiator(self) -> str:
        """The identity that made the message."""
        return self._responder.initiator

    @property
    def called(self) -> str:
        """The identity that is called."""
        return self._responder.responder

    @property
    def policy(self) -> TicketPolicy:
        """The Ticket Policy."""
        return self._responder.policy

    @property
    def timestamp(self) -> Timestamp:
        """The timestamp of the message."""
        return self._responder.timestamp

    @property
    def ticket(self) -> TICKET:
        """The ticket."""
        return self._responder.ticket

    def _acceptable(self) -> tuple[SrtpSuite, ...]:
        found: dict[SrtpSuite, None] = {}
        for pair in self._pairs.values():
            for cs_id in pair:
                choice = choose_policy(self._entries[cs_id], self._responder.policies, self._suites)
                found[self._suites[0] if choice is None else choice[1]] = None
        return tuple(found)

    def make_resolve_init(self, credential: ClientCredential, *, kms: str | None) -> bytes:
        """Return a RESOLVE_INIT for *kms*, by default the KMS the ticket names."""
        asked = kms or self.policy.kms
        if asked is None:
            raise LocalError("the ticket names no KMS: say which one is asked")
        self._resolve = TicketResolve.start(
            self._env, ticket=self.ticket, credential=credential, identity=self._identity, kms=asked
        )
        return self._resolve.message

    def receive_resolve_resp(self, response: bytes) -> ResolvedTicket:
        """Verify the RESOLVE_RESP to what `make_resolve_init` returned last. Raises a `PeerError`."""
        if self._resolve is None:
            raise LocalError("the KMS has not been asked")
        return self._resolve.receive(response)

    @property
    def resolve_mandatory(self) -> bool:
        """True if the KMS must be asked about the ticket (E)."""
        return self.policy.flags.resolve_mandatory

    def resolve_with(self, keys: Sequence[SharedTicketKey]) -> ResolvedTicket:
        """Open the ticket with one of *keys*, without a KMS. Raises a `PeerError`."""
        return resolve_with(self._env, self.ticket, keys, initiator=self.initiator, identity=self._identity)

    def verify(self, resolved: ResolvedTicket, replay: ReplayCache | None) -> None:
        """Verify TRANSFER_INIT, and that its crypto sessions name known keys. Raises a `PeerError`."""
        self._responder.verify(resolved, replay)
        keys = self._responder.session_keys()
        self._spi = preferred_spi(keys)
        for pair in self._pairs.values():
            for cs_id in pair:
                check_spi(self._entries[cs_id], keys)
        self.verified = True

    def respond(self, ssrcs: Mapping[int, int], streams: Sequence[MediaStream]) -> KeyExchange:
        """Make TRANSFER_RESP.

        *ssrcs* are those this side is known to send with, by m-line; *streams* the m-lines of the offer.
        """
        added: dict[int, SP] = {}
        policies = dict(self._responder.policies)
        entries: list[GenericIdEntry] = []
        for index, (forward, backward) in self._pairs.items():
            theirs, mine = self._entries[forward], self._entries[backward]
            if index in ssrcs:
                mine = with_ssrc(mine, ssrcs[index])
            for entry, described in ((theirs, streams[index].ssrc), (mine, None)):
                choice = choose_policy(entry, policies, self._suites)
                number = self._own_policy(policies, added) if choice is None else choice[0]
                ssrc = random_ssrc(self._env) if described is None else described
                entries.append(completed(entry, policy=number, ssrc=ssrc, spi=self._spi))
        message, bundle = self._responder.respond(crypto_sessions=entries, policies=tuple(added.values()))
        return KeyExchange(
            levels=self._carried.levels,
            pairs=self._pairs,
            bundle=bundle,
            sent=message,
            received=self._carried.message,
        )

    def _own_policy(self, policies: Mapping[int, SP], added: dict[int, SP]) -> int:
        """Number of this side's first suite, given in an SP of its own where the offer names no policy."""
        if not added:
            number = next(number for number in range(256) if number not in policies)
            added[number] = self._suites[0].policy.payload(number)
        return next(iter(added))


def _check_uri(identity: str, field: str) -> None:
    try:
        canonical(identity)
    except LocalError as error:
        raise InvalidIdentity(str(error), field=field) from None


def _acceptable(suites: Sequence[SrtpSuite], strength: int) -> tuple[SrtpSuite, ...]:
    try:
        return usable(tuple(suites), strength)
    except LocalError as error:
        raise InvalidTicketPolicy(str(error), field="TICKET PRF Func") from None
