"""Session timers (RFC 4028): one side refreshes the session, and both end it when no refresh comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sipmikey.agent.asyncio_sip.wire.transactions import Later, Timer
from sipmikey.agent.asyncio_sip.writing import has_option, token_of
from sipmikey.sip import Headers, SipMessage

LEAST_S: Final = 90
"""The shortest interval that may be asked for (section 5)."""
TOO_SMALL: Final = 422
_LONGEST_S: Final = 86400 * 7
_EARLIER_S: Final = 32


class SessionTimer:
    """The timer of one session. *wanted_s*: the interval this side asks for.

    *refresh* is called when a refresh of ours is due, *expire* when the session ends without one.
    """

    def __init__(
        self, later: Later, wanted_s: int, refresh: Callable[[], None], expire: Callable[[], None]
    ) -> None:
        self._later = later
        self._wanted_s = max(wanted_s, LEAST_S)
        self._least_s = LEAST_S
        self._refresh = refresh
        self._expire = expire
        self._timers: list[Timer] = []
        self._ours: bool | None = None

    @property
    def runs(self) -> bool:
        """True where both sides agreed on a timer."""
        return self._ours is not None

    def asked(self) -> Headers:
        """Return the header fields of a request of ours (section 7.1)."""
        who = "" if self._ours is None else ";refresher=uac" if self._ours else ";refresher=uas"
        return (("Session-Expires", f"{self._wanted_s}{who}"), ("Min-SE", str(self._least_s)))

    def longer(self, refusal: SipMessage) -> bool:
        """Ask for as long an interval as a 422 wants; False where it does not say (section 7.3)."""
        least = _seconds(refusal, "min-se")
        if refusal.status != TOO_SMALL or least is None or least <= self._least_s:
            return False
        self._least_s = least
        self._wanted_s = max(self._wanted_s, least)
        return True

    def answer(self, request: SipMessage) -> Headers:
        """Take a request of the peer and return the header fields of our 2xx to it (section 9)."""
        asked = _seconds(request, "session-expires")
        least = _seconds(request, "min-se") or LEAST_S
        interval = max(min(asked or self._wanted_s, self._wanted_s), least, LEAST_S)
        knows = has_option(request, "supported", "timer")
        who = _refresher(request)
        if not knows:
            who = "uas"
        elif who not in ("uac", "uas"):
            who = "uac"
        self._wanted_s = interval
        self._run(interval, ours=who == "uas")
        fields = (("Session-Expires", f"{interval};refresher={who}"),)
        return (("Require", "timer"), *fields) if who == "uac" else fields

    def agreed(self, accepted: SipMessage) -> None:
        """Take the 2xx to a request of ours; without Session-Expires there is no timer (section 7.2)."""
        interval = _seconds(accepted, "session-expires")
        if interval is None:
            self.stop()
            self._ours = None
            return
        self._wanted_s = interval = max(interval, LEAST_S)
        self._run(interval, ours=_refresher(accepted) != "uas")

    def _run(self, interval_s: int, *, ours: bool) -> None:
        self.stop()
        self._ours = ours
        end_s = interval_s - min(_EARLIER_S, interval_s // 3)
        self._timers = [self._later(end_s, self._expire)]
        if ours:
            self._timers.append(self._later(interval_s / 2, self._refresh))

    def stop(self) -> None:
        """Neither refresh nor expire."""
        for timer in self._timers:
            timer.cancel()
        self._timers = []


def interval_too_small(request: SipMessage) -> Headers | None:
    """Return the header fields of a 422 to a request that asks for too short an interval (section 9)."""
    asked = _seconds(request, "session-expires")
    if asked is None or asked >= LEAST_S or not has_option(request, "supported", "timer"):
        return None
    return (("Min-SE", str(LEAST_S)),)


def _seconds(message: SipMessage, field: str) -> int | None:
    word = token_of(message, field)
    if not word.isascii() or not word.isdecimal() or len(word) > 9:
        return None
    return min(int(word), _LONGEST_S)


def _refresher(message: SipMessage) -> str:
    for part in (message.first("session-expires") or "").split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "refresher":
            return value.strip().lower()
    return ""
