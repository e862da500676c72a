"""What the agent does with what arrives: which calls it takes, and how. In the engine's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from sipmikey.agent.config import MAX_CALLS
from sipmikey.agent.events import PolicyRefused
from sipmikey.agent.incoming import IncomingLeg, RefusedLeg
from sipmikey.agent.leg import Ending, Leg, Surroundings, srtp_suites
from sipmikey.agent.message import SipMessage
from sipmikey.agent.policy import SecurityMode
from sipmikey.agent.reasons import Reason
from sipmikey.agent.stack import CallObserver, Lane, StackCall
from sipmikey.mikey.errors import LocalError
from sipmikey.sdp import Answerer
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.replay import ReplayCache


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
        srtp = "/SAVP" in invite.body
        if self._policy.security_for(caller) is SecurityMode.OFF:
            return Lane.REFUSED if srtp else Lane.CLEAR
        clear = invite.has_sdp and not srtp and "a=key-mgmt:" not in invite.body.lower()
        return Lane.CLEAR if clear and self._policy.accepts_clear_from(caller) else Lane.SECURED

    def incoming(self, call: StackCall, invite: SipMessage, source: str, lane: Lane) -> CallObserver:
        """Take a call: it is checked, and the KMS asked, as soon as the stack is done with the INVITE."""
        number = self._number()
        try:
            caller = self.caller_of(invite, source)
        except LocalError as error:
            return self._refuse(number, call, Reason.IDENTITY_MISMATCH, 403, str(error))
        if lane is Lane.REFUSED:
            if self._policy.security_for(caller) is SecurityMode.OFF:
                detail = "security is off here, and SRTP was offered"
                return self._refuse(number, call, Reason.POLICY, 488, detail)
            return self._refuse(number, call, Reason.TOO_MANY_CALLS, 503, "too many calls in a short time")
        leg = IncomingLeg(
            number,
            self._around,
            call,
            invite,
            caller=caller,
            answerer=self._answerer() if lane is Lane.SECURED else None,
            ready=self._reception.call_rings,
        )
        self._reception.call_arrived(leg)
        self._around.engine.post(lambda: _check(leg))
        return leg

    def turned_away(self, caller: str, status: int, reason: str) -> None:
        """The stack refused a call itself: all its slots are taken."""
        self._around.emit(
            PolicyRefused(
                at=time.time(), reason=Reason.TOO_MANY_CALLS, side="local",
                detail=f"{caller} was refused with {status}: {MAX_CALLS} calls are in progress",
            )
        )  # fmt: skip

    def registration(self, status: int, reason: str, expires_s: int) -> None:
        """Pass on what became of a registration."""
        self._reception.registration(status, reason, expires_s)

    def _answerer(self) -> Answerer:
        keys = self._around.config.keys
        return Answerer(
            self._around.env,
            identities=(self._identity,),
            suites=srtp_suites(keys.suites if keys else ()),
            replay=self._replay,
        )

    def _refuse(self, number: str, call: StackCall, reason: Reason, status: int, detail: str) -> Leg:
        ending = Ending(reason=reason, side="local", status=status, detail=detail)
        leg = RefusedLeg(number, self._around, call, ending)
        self._around.engine.post(leg.refuse)
        return leg


def _check(leg: IncomingLeg) -> None:
    if leg.over:
        return
    try:
        leg.check()
    except Exception as error:  # noqa: BLE001 - it becomes the call's ending
        leg.failed(error)
