"""One subscription to the presence of one identity (RFC 6665 section 4.1, RFC 3856)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Final, Literal

from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means, Silent
from sipmikey.agent.asyncio_sip.requests_within import draft_within
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.target import shown
from sipmikey.agent.asyncio_sip.wire.transactions import Later, ServerTransaction, Timer
from sipmikey.agent.asyncio_sip.writing import (
    ALLOW_EVENTS,
    new_call_id,
    new_tag,
    own_address,
    parameter_of,
    response,
    route_through,
    token_of,
)
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.stack import Sighting
from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter
from sipmikey.sip import Headers, SipMalformed, SipMessage
from sipmikey.sip.pidf import EVENT, MEDIA_TYPE, Presence, parse_presence
from sipmikey.ticket.identity import canonical

EXPIRES_S: Final = 3600
"""The life of a subscription that we ask for (RFC 3856 section 6.4)."""

_EARLIER_S = 5
_NOTIFY_S = 32.0
"""Timer N (RFC 6665 section 4.1.2.4): the first NOTIFY comes within it, or there is no subscription."""

_AT_ONCE_S = 1.0
"""Before a subscription that a server ended to be made again at once: one that always ends it is not asked
without a pause."""

_LONGEST_RETRY_S = 1800
_INTERVAL_TOO_BRIEF = 423
_REFUSED = frozenset({403, 405, 489, 501, 603, 604})
"""Answers to a SUBSCRIBE that is not sent again."""

_TERMINATED = frozenset({404, 405, 410, 416, *range(480, 486), 489, 501, 604})
"""Answers to a refresh that end the subscription (RFC 6665 section 4.1.2.2, RFC 5057)."""

_BURST, _PER_SECOND = 20, 2.0

Watch = Literal["active", "pending", "ended"]


class Subscription(Silent):
    """We watch *identity*, from `begin` until `end`. *tell* hears what changed, *over* that no more comes.

    A NOTIFY counts only within the dialog of our SUBSCRIBE, whose Call-ID and tag only its path knows.
    """

    def __init__(
        self,
        config: AgentConfig,
        means: Means,
        later: Later,
        identity: str,
        tell: Callable[[Sighting], None],
        over: Callable[[Subscription], None],
    ) -> None:
        self._config = config
        self._means = means
        self._later = later
        self.identity = identity
        self._tell = tell
        self._over = over
        self._limit = RateLimiter(per_second=_PER_SECOND, burst=_BURST, now=time.monotonic)
        self._last: Sighting | None = None
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._deadline: Timer | None = None
        self._failures = 0
        self._expires = self._granted = EXPIRES_S
        self._fresh()
        self.wanted = False

    def _fresh(self) -> None:
        self.call_id, self.tag = new_call_id(), new_tag()
        self._numbers = itertools.count(1)
        self._dialog: Dialog | None = None
        self._heard = False

    @property
    def flow(self) -> Flow | None:
        """How the last SUBSCRIBE left."""
        return None if self._exchange is None else self._exchange.flow

    def begin(self) -> None:
        """Subscribe, in a dialog of its own."""
        self.wanted = True
        self.stop()
        self._fresh()
        self._send(self._expires)

    def begin_later(self, why: str) -> None:
        """Subscribe again after a pause: what we knew is no longer told to us."""
        self._lost(why, self._pause())

    def end(self) -> None:
        """Unsubscribe (RFC 6665 section 4.1.2.3); `over` is called when the server has confirmed it."""
        self.wanted = False
        if self._dialog is None:
            self._finish()
            return
        self._stop_timers()
        self._send(0)
        self._timer = self._later(_NOTIFY_S, self._finish)

    def stop(self) -> None:
        """Send nothing more."""
        self._stop_timers()
        if self._exchange is not None:
            self._exchange.drop()
            self._exchange = None

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        self._timer = self._deadline = None

    def _finish(self) -> None:
        self.stop()
        self._over(self)

    def _send(self, expires: int) -> None:
        config, dialog = self._config, self._dialog
        headers: Headers = (("Event", EVENT), ("Accept", MEDIA_TYPE), ("Expires", str(expires)))
        if dialog is not None:
            draft = draft_within("SUBSCRIBE", dialog, headers)
        else:
            draft = Draft(
                method="SUBSCRIBE", uri=self.identity, hop=config.sip.proxy or self.identity,
                sender=f"{own_address(config)};tag={self.tag}", receiver=f"<{self.identity}>",
                call_id=self.call_id, number=lambda: next(self._numbers),
                headers=(*route_through(config.sip.proxy), *headers), contact=True,
            )  # fmt: skip
        self._exchange = Exchange(self._means, draft, self)
        self._exchange.begin()

    # The response to our SUBSCRIBE

    def on_response(self, message: SipMessage) -> None:
        """The server answered."""
        status = message.status
        if status < 200:
            return
        if status >= 300:
            self._refused(message, status, message.reason_phrase)
            return
        if not self.wanted:
            return  # the last NOTIFY is still to come
        self._dialog = self._dialog or Dialog.of_response(message, self._numbers)
        if not self._heard:
            self._deadline = self._deadline or self._later(_NOTIFY_S, self._silent)
        word = message.first("expires") or ""
        self._granted = int(word) if word.isdecimal() else self._expires
        self._live(self._granted)

    def on_failed(self, status: int, reason: str) -> None:
        """The server did not answer."""
        self._refused(None, status, reason)

    def _refused(self, message: SipMessage | None, status: int, reason: str) -> None:
        why = f"{status} {reason}".strip()
        if not self.wanted:
            self._finish()
            return
        brief = (message.first("min-expires") or "") if message is not None else ""
        if status == _INTERVAL_TOO_BRIEF and brief.isdecimal() and self._expires < int(brief) <= 1 << 31:
            self._expires = int(brief)
            self._send(self._expires)
        elif self._dialog is not None and status not in _TERMINATED:
            # The subscription lives on until its time is over; `_deadline` sees to that.
            self._renew_in(self._pause())
        elif self._dialog is not None:
            self._lost(why, _AT_ONCE_S)
        elif status in _REFUSED:
            self._refuse(why)
        else:
            self._lost(why, self._pause())

    def _silent(self) -> None:
        self._lost("no NOTIFY came", self._pause())

    # What the server tells

    def receive(self, transaction: ServerTransaction) -> None:
        """Take a NOTIFY with our Call-ID and tag."""
        message = transaction.request
        seen: Presence | None = None
        headers: Headers = ()
        status = self._fault_of(message)
        if status == 489:
            headers = (("Allow-Events", ALLOW_EVENTS),)
        if status == 200 and (wait := self._limit.retry_after("")) is not None:
            status, headers = 500, (("Retry-After", str(int(wait) + 1)),)
        if status == 200 and message.content:
            status, seen = self._read(message)
        transaction.respond(response(message, status, headers=headers))
        if status == 200:
            self._notified(message, seen, shown(transaction.flow.remote))

    def _fault_of(self, message: SipMessage) -> int:
        """Return how to refuse a NOTIFY; 200 for a fit one. It makes the dialog if the 200 is still to come.

        A SUBSCRIBE that was forked has one dialog all the same: the others get 481 (RFC 3856 section 6.9).
        """
        if token_of(message, "event") != EVENT:
            return 489
        if parameter_of(message, "event", "id"):
            return 481
        if self._dialog is not None and message.tag("from") != self._dialog.remote_tag:
            return 481
        if not token_of(message, "subscription-state"):
            return 400
        if self._dialog is None:
            try:
                self._dialog = Dialog.of_invite(message, self.tag)
            except SipMalformed:
                return 400
            self._dialog.numbers = self._numbers
        elif not self._dialog.accepts(message):
            return 500
        return 200

    def _read(self, message: SipMessage) -> tuple[int, Presence | None]:
        if token_of(message, "content-type") != MEDIA_TYPE:
            return 415, None
        try:
            seen = parse_presence(message.content)
            whose = canonical(seen.entity.replace("pres:", "sip:", 1))
        except (SipMalformed, LocalError):
            return 400, None
        return (200, seen) if whose == canonical(self.identity) else (400, None)

    def _notified(self, message: SipMessage, seen: Presence | None, source: str) -> None:
        state = token_of(message, "subscription-state")
        if state == "terminated":
            self._terminated(message)
            return
        if not self.wanted:
            return
        first, self._heard, self._failures = not self._heard, True, 0
        word = parameter_of(message, "subscription-state", "expires")
        if word.isdecimal():
            self._live(int(word))
        elif first:
            self._live(self._granted)
        last = self._last
        if seen is None and last is not None:
            seen = Presence(entity=self.identity, open=last.open, note=last.note)
        watch: Watch = "active" if state == "active" else "pending"
        self._say(
            Sighting(
                identity=self.identity, watch=watch, open=None if seen is None else seen.open,
                note="" if seen is None else seen.note, source=source,
            )
        )  # fmt: skip

    def _terminated(self, message: SipMessage) -> None:
        """Section 4.1.3: the reason says whether to ask again, and when."""
        if not self.wanted:
            self._finish()
            return
        reason = parameter_of(message, "subscription-state", "reason")
        word = parameter_of(message, "subscription-state", "retry-after")
        why = f"the server ended it: {reason}" if reason else "the server ended it"
        if reason in ("rejected", "noresource", "invariant"):
            self._refuse(why)
        elif reason in ("deactivated", "timeout"):
            self._lost(why, _AT_ONCE_S)
        else:
            asked = min(int(word), 1 << 20) if word.isdecimal() else 0
            self._lost(why, max(asked, self._pause()))

    # Time

    def _live(self, expires: int) -> None:
        """The subscription lives for *expires* seconds from now: renew it before they are over."""
        expires = min(expires, 1 << 31)
        self._renew_in(max(expires - _EARLIER_S, expires // 2, 1))
        if self._heard:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self._later(expires + 1, lambda: self._lost("its time is over", _AT_ONCE_S))

    def _renew_in(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._later(delay_s, lambda: self._send(self._expires))

    def _pause(self) -> float:
        self._failures += 1
        doubled: float = self._config.sip.registration_retry_s * 2 ** min(self._failures - 1, 10)
        return min(_LONGEST_RETRY_S, doubled)

    def _lost(self, why: str, again_in_s: float) -> None:
        """Nothing is known of the identity until another subscription, in *again_in_s* seconds."""
        self.stop()
        self._fresh()
        self._say(Sighting(identity=self.identity, watch="pending", detail=why))
        self._timer = self._later(again_in_s, self.begin)

    def _refuse(self, why: str) -> None:
        """There will be no subscription."""
        self._say(Sighting(identity=self.identity, watch="ended", detail=why))
        self._finish()

    def _say(self, sighting: Sighting) -> None:
        if sighting != self._last:
            self._last = sighting
            self._tell(sighting)
