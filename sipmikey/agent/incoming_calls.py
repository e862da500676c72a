"""What the agent does with what arrives: which calls it takes, and how. In the engine's thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from sipmikey.agent.config import MAX_CALLS
from sipmikey.agent.legs.context import Surroundings
from sipmikey.agent.legs.incoming import IncomingLeg, RefusedLeg
from sipmikey.agent.legs.leg import Leg
from sipmikey.agent.legs.mikey_description import srtp_suites
from sipmikey.agent.legs.replacing import ReplacingLeg
from sipmikey.agent.legs.sdes_exchange import SdesExchange, crypto_suites, keyed_by_crypto, why_unfit
from sipmikey.agent.sip.ip_version import check_ip_version
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import CallObserver, Lane, StackCall
from sipmikey.agent.tickets.store import ResolvedTickets
from sipmikey.call.events import (
    Event,
    MediaRoute,
    PlaybackFinished,
    PolicyRefused,
    ReplacementRequested,
    SoundDevice,
    SoundLevel,
    StackFailed,
)
from sipmikey.call.policy import SecurityMode
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.nat.path import Candidate, MediaPath, Way
from sipmikey.nat.servers import endpoint_text
from sipmikey.sdp import DEFAULT_SUITES, Answerer, IdentityMismatch, KeyMgmtMissing, MediaNotSecured
from sipmikey.sound.settings import DeviceNews, News
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.replay import ReplayCache

_FORBIDDEN = 403
_BUSY_HERE = 486
_NOT_ACCEPTABLE_HERE = 488


class Reception(Protocol):
    """What the agent in the event loop is told. Called in the engine's thread."""

    def call_arrived(self, leg: IncomingLeg) -> None:
        """A call passed the stack; nothing of it is checked yet."""

    def call_rings(self, leg: IncomingLeg) -> None:
        """The call is checked, its ticket resolved: the user may answer."""

    def registration(self, status: int, reason: str, expires_s: int) -> None:
        """The registrar answered, or did not (*status* 408 or 503 then)."""


class Account:
    """One identity; the observer of the stack.

    *number* gives the numbers of calls; *reception* is the agent.
    """

    def __init__(
        self, identity: str, around: Surroundings, reception: Reception, number: Callable[[], str]
    ) -> None:
        self._identity = identity
        self._around = around
        self._reception = reception
        self._number = number
        config = around.config
        self._policy = config.policy
        self._trusted = config.sip.trusted_proxies
        self._replay = ReplayCache(clock_skew_s=around.env.clock_skew_s)
        keeps = config.keys is not None and config.keys.keep_resolved
        self._resolved = ResolvedTickets(around.env) if keeps else None

    def caller_of(self, invite: SipMessage, source: str) -> str:
        """Return the canonical SIP caller: P-Asserted-Identity from a trusted proxy, else From.

        *source* is ``host:port`` the INVITE came from. Raises ``LocalError`` when it is no URI.
        """
        host = source.rpartition(":")[0].strip("[]")
        asserted = invite.asserted_identity() if host in self._trusted else None
        return canonical(asserted or invite.uri("from") or "")

    def choose_lane(self, invite: SipMessage, source: str) -> Lane:
        """Say which of the stack's accounts takes an INVITE, before any socket is opened for it."""
        caller = self.caller_of(invite, source)
        if self._other_ip_version(invite) is not None:
            return Lane.REFUSED
        srtp = "/SAVP" in invite.body
        if self._policy.security_for(caller) is SecurityMode.OFF:
            return Lane.REFUSED if srtp else Lane.CLEAR
        if self._asks_for_sdes(invite, caller):
            return Lane.REFUSED if self._why_not_sdes(invite) is not None else Lane.SDES
        if srtp or not invite.has_sdp:
            return Lane.SECURED
        # The stack itself answers 488 to plain RTP on the secured lane, without a word of why.
        keyed = "a=key-mgmt:" in invite.body.lower()
        return Lane.CLEAR if not keyed and self._policy.accepts_clear_from(caller) else Lane.REFUSED

    def incoming(self, call: StackCall, invite: SipMessage, source: str, lane: Lane) -> CallObserver:
        """Take a call: it is checked, and the KMS asked, as soon as the stack is done with the INVITE."""
        number = self._number()
        try:
            caller = self.caller_of(invite, source)
        except LocalError as error:
            return self._refuse(number, call, IdentityMismatch(str(error), field="From"))
        if lane is Lane.REFUSED:
            return self._refuse(number, call, self._why_not(invite, source, caller))
        leg = IncomingLeg(
            number,
            self._around,
            call,
            invite,
            caller=caller,
            answerer=self._answerer() if lane is Lane.SECURED else None,
            kept=self._resolved,
            sdes=self._sdes(invite) if lane is Lane.SDES else None,
            ready=self._reception.call_rings,
        )
        self._reception.call_arrived(leg)
        self._around.engine.post(lambda: _check(leg))
        return leg

    def replacement(self, call: str, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        """Judge an INVITE that wants the place of *call*, which is on *lane*; the engine waits for the KMS.

        Returns the new call, or the status to refuse with.
        """
        caller = ""
        outcome: ReplacingLeg | int = _FORBIDDEN
        with contextlib.suppress(LocalError):
            caller = self.caller_of(invite, source)
            outcome = self._let_in(caller, invite, source, lane)
        status, new_call = (outcome, "") if isinstance(outcome, int) else (200, outcome.number)
        self._around.emit(
            ReplacementRequested(at=time.time(), call=call, caller=caller, status=status, new_call=new_call)
        )
        return outcome

    def _let_in(self, caller: str, invite: SipMessage, source: str, lane: Lane) -> ReplacingLeg | int:
        if not self._policy.transfer:
            return _FORBIDDEN
        # The stack takes the new call on the account of the old one, whatever is offered.
        if lane not in (Lane.SECURED, Lane.CLEAR) or self.choose_lane(invite, source) is not lane:
            return _NOT_ACCEPTABLE_HERE
        leg = ReplacingLeg(
            self._number(),
            replace(self._around, ask_kms=self._around.ask_kms_now),
            None,
            invite,
            caller=caller,
            answerer=self._answerer() if lane is Lane.SECURED else None,
            kept=self._resolved,
            ready=self._reception.call_rings,
        )
        self._reception.call_arrived(leg)
        status = leg.judge()
        return leg if status == 200 else status

    def _why_not(self, invite: SipMessage, source: str, caller: str) -> PeerError:
        """Return why a call that the stack was told to refuse is refused."""
        if self.choose_lane(invite, source) is not Lane.REFUSED:
            return AgentError(Reason.TOO_MANY_CALLS, "too many calls in a short time", side="local")
        if (unreachable := self._other_ip_version(invite)) is not None:
            return unreachable
        if self._policy.security_for(caller) is SecurityMode.OFF:
            return AgentError(Reason.POLICY, "security is off here, and SRTP was offered", side="local")
        if self._asks_for_sdes(invite, caller):
            return self._why_not_sdes(invite) or AgentError(Reason.POLICY, "SDES is refused", side="local")
        if "a=key-mgmt:" not in invite.body.lower():
            return KeyMgmtMissing("plain RTP without key management is offered", field="key-mgmt")
        try:
            self._answerer().receive_offer(invite.body, sip_caller=caller)
        except PeerError as error:
            return error
        return MediaNotSecured("an m-line is not SRTP", field="m=")

    def _other_ip_version(self, invite: SipMessage) -> AgentError | None:
        try:
            check_ip_version(invite.body, ipv6=self._around.config.sip.ipv6)
        except AgentError as error:
            return error
        return None

    def _asks_for_sdes(self, invite: SipMessage, caller: str) -> bool:
        """True when SDES is all the offer has, and policy names it for *caller*."""
        keyed = "a=key-mgmt:" in invite.body.lower()
        return not keyed and keyed_by_crypto(invite.body) and self._policy.allows_sdes(caller)

    def _why_not_sdes(self, invite: SipMessage) -> PeerError | None:
        if not self._policy.sdes_over(invite.transport):
            detail = f"SDES is accepted over TLS only, and this INVITE came over {invite.transport.upper()}"
            return AgentError(Reason.POLICY, detail, side="local")
        return why_unfit(invite.body, self._crypto_suites)

    def _sdes(self, invite: SipMessage) -> SdesExchange:
        exchange = SdesExchange(self._crypto_suites)
        exchange.receive_offer(invite.body)
        return exchange

    @property
    def _crypto_suites(self) -> tuple[str, ...]:
        keys = self._around.config.keys
        return crypto_suites(keys.suites if keys else ("256", "128"))

    def turned_away(self, caller: str, status: int, reason: str) -> None:
        """The stack refused a call itself: all its slots are taken, or no codec fits."""
        full = status == _BUSY_HERE
        why = f"{MAX_CALLS} calls are in progress" if full else reason
        self._around.emit(
            PolicyRefused(
                at=time.time(),
                reason=Reason.TOO_MANY_CALLS if full else Reason.SIP_FAILURE,
                side="local",
                detail=f"{caller} was refused with {status}: {why}",
            )
        )

    def played(self) -> None:
        """The audio file was played to its end."""
        self._around.emit(PlaybackFinished(at=time.time()))

    def media_path(self, sip_call_id: str, index: int, path: MediaPath) -> None:
        """ICE chose the way of a stream's media."""
        ours = path.local_kind is Candidate.RELAYED
        relay = self._around.config.nat.turn if ours else path.remote[0]
        self._around.emit(
            MediaRoute(
                at=time.time(),
                sip_call_id=sip_call_id,
                index=index,
                way=path.way,
                local=endpoint_text(path.local),
                local_kind=path.local_kind,
                remote=endpoint_text(path.remote),
                remote_kind=path.remote_kind,
                relay=relay if path.way is Way.RELAYED else "",
            )
        )

    def sound_news(self, news: News) -> None:
        """A sound device came or went, or a level was measured."""
        if isinstance(news, DeviceNews):
            event: Event = SoundDevice(
                at=time.time(), role=news.role, state=news.state, name=news.name, detail=news.detail
            )
        else:
            event = SoundLevel(at=time.time(), role=news.role, rms_db=news.rms_db, peak_db=news.peak_db)
        self._around.emit(event)

    def registration(self, status: int, reason: str, expires_s: int) -> None:
        """Pass on what became of a registration."""
        self._reception.registration(status, reason, expires_s)

    def stack_lost(self, calls: int, detail: str, again_in_s: float) -> None:
        """Tell that the stack failed and will be back."""
        self._around.emit(StackFailed(at=time.time(), calls=calls, detail=detail, again_in_s=again_in_s))

    def _answerer(self) -> Answerer:
        keys = self._around.config.keys
        return Answerer(
            self._around.env,
            identities=(self._identity,),
            suites=srtp_suites(keys.suites) if keys else DEFAULT_SUITES,
            replay=self._replay,
        )

    def _refuse(self, number: str, call: StackCall, error: PeerError) -> Leg:
        leg = RefusedLeg(number, self._around, call, error)
        self._around.engine.post(leg.refuse)
        return leg


def _check(leg: IncomingLeg) -> None:
    if leg.over:
        return
    try:
        leg.check()
    except Exception as error:  # noqa: BLE001 - it becomes the call's ending
        leg.failed(error)
