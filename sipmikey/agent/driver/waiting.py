"""Messages that wait for the user, as NOTIFY requests tell (RFC 3842). In the engine's thread."""

from __future__ import annotations

import logging
import time

from sipmikey.call.events import MessagesWaiting
from sipmikey.rate_limit import RateLimiter
from sipmikey.sip import SipMalformed, SipMessage
from sipmikey.sip.message_summary import MEDIA_TYPE, MessageSummary, parse_summary

_log = logging.getLogger("sipmikey.agent.driver.waiting")

_BURST = 10
_PER_SECOND = 1.0


class WaitingMessages:
    """Reads message summaries.

    Any host can send one, so their rate is limited, and a repeated one is not told again.
    """

    def __init__(self) -> None:
        self._limit = RateLimiter(per_second=_PER_SECOND, burst=_BURST, now=time.monotonic)
        self._last: MessageSummary | None = None

    def take(self, notify: SipMessage, source: str) -> MessagesWaiting | None:
        """Return the event for a NOTIFY from *source* (``host:port``), None where it tells nothing new."""
        kind = notify.first("content-type") or ""
        if kind.partition(";")[0].strip().lower() != MEDIA_TYPE:
            return None
        try:
            summary = parse_summary(notify.content)
        except SipMalformed as error:
            _log.warning("a message summary from %s: %s", source, error)
            return None
        if summary == self._last or self._limit.retry_after("") is not None:
            return None
        self._last = summary
        return MessagesWaiting(
            at=time.time(), box=summary.account, waiting=summary.waiting, new=summary.new,
            old=summary.old, source=source,
        )  # fmt: skip
