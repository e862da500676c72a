"""The keyings of an agent, made from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.keying.known import alternative
from sipmikey.call.keying.means import (
    Incoming,
    KeptTickets,
    Means,
    Outgoing,
    TicketMeans,
    own_kms,
    srtp_suites,
)
from sipmikey.call.keying.permission import goes_over, only_over, permitted
from sipmikey.call.policy import CallPolicy
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sdp.errors import KeyMgmtMissing
from sipmikey.ticket.credentials import ClientCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.shared_keys import SharedTicketKey


class StandardKeyings:
    """Makes keyings for the calls of *identity*, in both directions.

    *suites*: suite words (``256``, ``128``), best first. *credential*: ours at the KMS *kms*, or what
    returns it as it is now; None without a KMS. *asked_about*: the KMS to ask about a ticket of another one,
    None where that is ours. *kept*: tickets that need not be resolved again. *ticket_keys*: shared with a KMS
    or a peer. All calls share one replay cache. ``means``: all that as one value.

    Raises ``LocalError`` for an alternative in *policy* that no keying has.
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
        asked_about: Callable[[str | None], str | None] = own_kms,
        kept: KeptTickets | None = None,
        ticket_keys: Sequence[SharedTicketKey] = (),
    ) -> None:
        alternative(policy.alternative)
        tickets = TicketMeans(
            credential=credential,
            kms=kms,
            asked_about=asked_about,
            kept=kept,
            ticket_keys=ticket_keys,
            replay=ReplayCache(clock_skew_s=env.clock_skew_s),
        )
        self.means = Means(
            env=env, policy=policy, identity=identity, suites=srtp_suites(suites), tickets=tickets
        )

    def calling(
        self, kind: KeyingKind, *, called: str, consent: Consent, grant: TicketGrant | None = None
    ) -> Keying:
        """Key a call to *called*; *consent* knows whom policy refuses.

        Raises ``LocalError`` where a ticket is needed and *grant* cannot be used.
        """

        def accepts(peer: str) -> bool:
            return not consent.refuses(peer, answers_for=called)

        return kind.calling(self.means, Outgoing(called=called, grant=grant, accepts=accepts))

    def called(self, kind: KeyingKind, *, caller: str, offer: str | None) -> Keying:
        """Key a call of *caller* that came in with *offer*."""
        return kind.called(self.means, Incoming(caller=caller, offer=offer))

    def kind_of(self, *, caller: str, offer: str | None, transport: str) -> KeyingKind:
        """Return what keys a call of *caller* whose *offer* came over *transport*, as policy permits it.

        Raises a ``PeerError`` or ``AgentError`` for an offer that must be refused.
        """
        policy = self.means.policy
        kinds = tuple(permitted(policy, caller, calls=False))
        found = next((kind for kind in kinds if kind.recognises(offer)), None)
        if found is None:
            return _for_unknown(kinds, offer or "")
        if not goes_over(policy, found, transport):
            over = only_over(policy, found)
            detail = f"{found.words.short} is accepted over {over} only, and this INVITE came over"
            raise AgentError(Reason.POLICY, f"{detail} {transport.upper()}", side="local")
        return found


def _for_unknown(kinds: tuple[KeyingKind, ...], offer: str) -> KeyingKind:
    """Return the keying that says what an *offer* lacks, which none of *kinds* recognises; or raise why."""
    protected = tuple(kind for kind in kinds if not kind.in_clear and not kind.alternatives)
    if not protected:
        raise AgentError(Reason.POLICY, "security is off here, and SRTP was offered", side="local")
    if "/SAVP" not in offer:
        raise KeyMgmtMissing("plain RTP without key management is offered", field="key-mgmt")
    return protected[0]
