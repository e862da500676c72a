"""The keyings of an agent, made from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.clear import ClearKeying
from sipmikey.call.keying.keying import Keying, Lane, NoKeying
from sipmikey.call.keying.sdes import SdesKeying
from sipmikey.call.keying.sdes_exchange import crypto_suites
from sipmikey.call.keying.ticket import KeptTickets, TicketKeying, srtp_suites
from sipmikey.call.policy import CallPolicy
from sipmikey.ticket.credentials import ClientCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.shared_keys import SharedTicketKey


def _own_kms(kms: str | None) -> str | None:
    """Our own KMS is asked about every ticket."""
    return None


class StandardKeyings:
    """Makes keyings for the calls of *identity*, in both directions.

    *suites*: suite words (``256``, ``128``), best first. *credential*: ours at the KMS *kms*, or what
    returns it as it is now; None without a KMS. *asked_about*: the KMS to ask about a ticket of another one,
    None where that is ours. *kept*: tickets that need not be resolved again. *ticket_keys*: shared with a KMS
    or a peer. All calls share one replay
    cache.
    """

    def __init__(
        self,
        env: Environment,
        policy: CallPolicy,
        *,
        identity: str,
        suites: tuple[str, ...] = ("256", "128"),
        credential: ClientCredential | Callable[[], ClientCredential | None] | None = None,
        kms: str = "",
        asked_about: Callable[[str | None], str | None] = _own_kms,
        kept: KeptTickets | None = None,
        ticket_keys: Sequence[SharedTicketKey] = (),
    ) -> None:
        self._env = env
        self._policy = policy
        self._identity = identity
        self._srtp = srtp_suites(suites)
        self._credential = credential
        self._kms = kms
        self._asked_about = asked_about
        self._kept = kept
        self._ticket_keys = ticket_keys
        self._replay = ReplayCache(clock_skew_s=env.clock_skew_s)
        self.crypto_suites = crypto_suites(suites)

    def by_ticket(self, grant: TicketGrant, called: str, consent: Consent) -> Keying:
        """Key a call to *called* with a ticket; *consent* knows whom policy refuses.

        Raises ``LocalError`` where the ticket cannot be used.
        """
        return TicketKeying.calling(
            self._env,
            grant=grant,
            called=called,
            suites=self._srtp,
            accepts=lambda peer: not consent.refuses(peer, answers_for=called),
        )

    def without_ticket(self, lane: Lane) -> Keying:
        """Key a call by SDES, or not at all."""
        match lane:
            case Lane.SDES:
                return SdesKeying(self.crypto_suites, self._policy.sdes_over)
            case Lane.CLEAR:
                return ClearKeying()
            case _:
                return NoKeying()

    def called(self, lane: Lane, *, caller: str, offer: str | None) -> Keying:
        """Key a call of *caller* that came in on *lane* with *offer*."""
        if lane is Lane.SECURED:
            return self.ticketed(caller=caller)
        keying = self.without_ticket(lane)
        if lane is Lane.SDES:
            # The stack makes its answer before the call is judged.
            keying.receive_offer(offer)
        return keying

    def ticketed(self, *, caller: str) -> TicketKeying:
        """Key a call of *caller* by the ticket in its offer."""
        return TicketKeying.called(
            self._env,
            identity=self._identity,
            caller=caller,
            suites=self._srtp,
            replay=self._replay,
            credential=self._credential() if callable(self._credential) else self._credential,
            kms=self._kms,
            asked_about=self._asked_about,
            kept=self._kept,
            ticket_keys=self._ticket_keys,
        )
