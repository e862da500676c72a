"""Registration: REGISTER, its refresh and its end (RFC 3261 section 10)."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable

from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.transactions import Later, Timer
from sipmikey.agent.asyncio_sip.writing import (
    ALLOW,
    has_option,
    new_call_id,
    new_tag,
    own_address,
    route_through,
)
from sipmikey.agent.config import AgentConfig
from sipmikey.sip import SipMalformed, SipMessage
from sipmikey.sip.uri import fault_of

_EARLIER_S = 5
_INTERVAL_TOO_BRIEF = 423
_NO_OUTBOUND = 439
_LONGEST_RETRY_S = 1800


class Registration:
    """The registration of one identity. *tell* is called with each outcome: status, reason, seconds.

    ``registered``: the registrar knows our Contact.
    """

    def __init__(
        self, config: AgentConfig, means: Means, later: Later, tell: Callable[[int, str, int], None]
    ) -> None:
        self._config = config
        self._means = means
        self._later = later
        self._tell = tell
        self._call_id = new_call_id()
        self._tag = new_tag()
        self._numbers = itertools.count(1)
        self._binding = means.binding
        self._failures = 0
        self._expires = config.sip.registration_expires_s
        self._wanted = False
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._contact = ""
        self._pause_s: float = 0
        self._keeping: Timer | None = None
        self._looked = False
        self.registered = False

    def want(self, wanted: bool) -> None:
        """Register, or refresh; or remove the registration."""
        self._wanted = wanted
        self._send(self._expires if wanted else 0)

    def _send(self, expires: int, *, leaving: str = "") -> None:
        """*leaving*: a Contact of ours that ends."""
        config = self._config
        registrar = config.sip.registrar or ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._exchange is not None:
            self._exchange.drop()
        identity = own_address(config)
        left = (("Contact", f"<{leaving}>;expires=0"),) if leaving else ()
        draft = Draft(
            method="REGISTER",
            uri=registrar,
            hop=config.sip.proxy or registrar,
            sender=f"{identity};tag={self._tag}",
            receiver=identity,
            call_id=self._call_id,
            number=lambda: next(self._numbers),
            headers=(
                *route_through(config.sip.proxy), ("Expires", str(expires)), ("Allow", ALLOW),
                ("Supported", ", ".join(self._binding.offered())), *config.sip.register_headers.items(),
                *left,
            ),
            contact=True,
        )  # fmt: skip
        self._exchange = Exchange(self._means, draft, self)
        self._exchange.begin()

    def on_sent(self, message: SipMessage) -> None:
        """Remember our Contact."""
        self._contact = message.uri("contact") or ""

    def on_challenged(self, message: SipMessage) -> None:
        """The password is sent, and our address as the registrar sees it."""
        if self._exchange is not None and self._exchange.flow is not None:
            self._binding.look_outside(message, self._exchange.flow)

    def on_response(self, message: SipMessage) -> None:
        """The registrar answered."""
        if message.status < 200:
            return
        brief = message.first("min-expires") or ""
        if message.status == _INTERVAL_TOO_BRIEF and brief.isdecimal() and int(brief) > self._expires:
            self._expires = int(brief)
            self.want(self._wanted)
            return
        if message.status == _NO_OUTBOUND and not self._binding.refused:
            self._binding.refused = True
            self.want(self._wanted)
            return
        flow = None if self._exchange is None else self._exchange.flow
        self._exchange = None
        self._bound(message, flow)
        if self._misplaced(message, flow):
            return
        granted = self._granted(message) if message.status < 300 else 0
        self._settle(message.status, message.reason_phrase, granted)

    def _misplaced(self, message: SipMessage, flow: Flow | None) -> bool:
        """Register again, once, where the Contact that was registered is not our address outside of a NAT."""
        looked, self._looked = self._looked, False
        if flow is None or not self._wanted or message.status >= 300:
            return False
        if not self._binding.look_outside(message, flow) or looked:
            return False
        self._looked = True
        self._send(self._expires, leaving=self._contact)
        return True

    def _bound(self, message: SipMessage, flow: Flow | None) -> None:
        """Note what the registrar gave this device."""
        binding = self._binding
        binding.leave()
        if message.status >= 300 or flow is None or not self._wanted:
            return
        binding.flow = flow
        binding.outbound = binding.asks_for_outbound(flow) and has_option(message, "require", "outbound")
        self._pause_s = self._config.sip.keepalive_s
        word = (message.first("flow-timer") or "").strip()
        if binding.outbound and word.isdecimal() and int(word):
            # RFC 5626 section 4.4: within 80 and 100 percent of what the edge proxy waits for.
            self._pause_s = min(self._pause_s or int(word), 0.9 * int(word))
        if self._config.sip.gruu:
            binding.gruu = self._gruu(message)

    def _gruu(self, message: SipMessage) -> str:
        """Return the public GRUU of our Contact in a 200, ``""`` without one (RFC 5627 section 4.2)."""
        with contextlib.suppress(SipMalformed):
            for contact in message.contacts():
                if self._is_ours(contact.uri):
                    found = contact.parameter("pub-gruu") or ""
                    return found if fault_of(found) == "" and not set(found) & set('<>" ') else ""
        return ""

    def _is_ours(self, uri: str) -> bool:
        return uri.partition(";")[0] == self._contact.partition(";")[0]

    def on_failed(self, status: int, reason: str) -> None:
        """The registrar did not answer."""
        self._exchange = None
        self._settle(status, reason, 0)

    def _settle(self, status: int, reason: str, granted: int) -> None:
        ok = status // 100 == 2
        self.registered = ok and granted > 0
        if self._wanted:
            self._failures = 0 if ok and granted else self._failures + 1
            delay = max(granted - _EARLIER_S, granted // 2, 1) if ok and granted else self._retry_in()
            self._timer = self._later(delay, lambda: self._send(self._expires))
        self._keep_alive()
        self._tell(status, reason, granted)

    def _keep_alive(self) -> None:
        """Keep the connection open by which the registrar reaches us (RFC 5626 section 4.4.1)."""
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        flow = self._binding.flow
        if self.registered and self._pause_s and flow is not None:
            flow.ping(answered=self._binding.outbound)
            self._keeping = self._later(self._pause_s, self._keep_alive)

    def _retry_in(self) -> float:
        """Return the seconds until the next attempt; with outbound ever more (RFC 5626 section 4.5)."""
        pause = self._config.sip.registration_retry_s
        if not self._config.sip.outbound:
            return pause
        longest: float = min(_LONGEST_RETRY_S, pause * 2 ** min(self._failures - 1, 10))
        return longest * random.uniform(0.5, 1.0)

    def leave_flow(self) -> None:
        """The connection with the registrar is left behind; nobody is told that it ends."""
        self._binding.leave()
        self._binding.forget_outside()
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    def connection_lost(self, flow: Flow) -> None:
        """A connection ended; if it was the registrar's, the registrar can no longer reach us."""
        if flow is self._binding.flow and self.registered:
            self._binding.leave()
            self._settle(503, "the connection with the registrar is lost", 0)

    def _granted(self, message: SipMessage) -> int:
        """Return for how many seconds our Contact is registered."""
        if not self._wanted:
            return 0
        word = message.first("expires") or ""
        general = int(word) if word.isdecimal() else self._expires
        try:
            contacts = message.contacts()
        except SipMalformed:
            return general
        for contact in contacts:
            if self._is_ours(contact.uri):
                given = contact.parameter("expires") or ""
                return int(given) if given.isdecimal() else general
        return 0 if contacts else general

    def stop(self) -> None:
        """Send nothing more."""
        for timer in (self._timer, self._keeping):
            if timer is not None:
                timer.cancel()
        if self._exchange is not None:
            self._exchange.drop()
