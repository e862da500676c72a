"""What a keying is made of: the settings of an agent, what tickets take, and one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sipmikey.call.policy import CallPolicy
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite
from sipmikey.ticket.credentials import ClientCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import ResolvedTicket
from sipmikey.ticket.shared_keys import SharedTicketKey


def srtp_suites(strengths: tuple[str, ...]) -> tuple[SrtpSuite, ...]:
    """Return the SRTP suites for the suite words of the configuration (``256``, ``128``), in their order.

    Only those with a tag of 80 bits (RFC 4568 section 6.2.1, RFC 6188 section 4).
    """
    return tuple(suite for word in strengths for suite in DEFAULT_SUITES if suite.key_bits == int(word))


class KeptTickets(Protocol):
    """Tickets resolved before that may be used again (J), by their names."""

    def get(self, ticket_id: str) -> ResolvedTicket | None: ...

    def used(self, ticket_id: str, timestamp: Timestamp) -> None:
        """Note a TRANSFER_INIT that used one; raises ``ReplayedMessage``."""

    def keep(self, ticket_id: str, resolved: ResolvedTicket, timestamp: Timestamp) -> None: ...


def own_kms(kms: str | None) -> str | None:
    """Our own KMS is asked about every ticket."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketMeans:
    """What tickets take. ``credential``: ours at the KMS ``kms``, or what returns it as it is now; None
    without a KMS.

    ``asked_about``: the KMS to ask about a ticket of another one, None where that is ours. ``kept``: tickets
    that need not be resolved again. ``ticket_keys``: shared with a KMS or a peer. ``replay``: of all calls.
    """

    credential: ClientCredential | Callable[[], ClientCredential | None] | None = None
    kms: str = ""
    asked_about: Callable[[str | None], str | None] = own_kms
    kept: KeptTickets | None = None
    ticket_keys: Sequence[SharedTicketKey] = ()
    replay: ReplayCache | None = None

    @property
    def credential_now(self) -> ClientCredential | None:
        """The credential as it is now."""
        return self.credential() if callable(self.credential) else self.credential


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What keyings of the calls of ``identity`` are made of. ``suites``: of SRTP, best first."""

    env: Environment
    policy: CallPolicy
    identity: str
    suites: tuple[SrtpSuite, ...] = DEFAULT_SUITES
    tickets: TicketMeans = field(default_factory=TicketMeans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A call to *called* (canonical), with a ticket where the keying needs one.

    ``accepts``: whether the identity that answers may be talked to; policy may refuse it.
    """

    called: str
    grant: TicketGrant | None
    accepts: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A call of *caller* (canonical) with *offer*; None: the INVITE has none."""

    caller: str
    offer: str | None
