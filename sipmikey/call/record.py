"""When a call began, was answered and ended, as its events tell it."""

from __future__ import annotations

from sipmikey.call.ending import Ending
from sipmikey.call.events import CallAnswered, CallEnded, Security, Stats
from sipmikey.call.inputs import StreamCount
from sipmikey.call.outbox import Outbox
from sipmikey.call.streams import stream_stats

_NS = 1e9
_MS = 1e6


class CallRecord:
    """Times and last packet counts of a call. ``call_id``: its Call-ID, ``""`` before the first message."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self.call_id = ""
        self._began_ns = 0
        self._answered_ns: int | None = None
        self._counts: tuple[StreamCount, ...] = ()

    @property
    def answered(self) -> bool:
        """True once the call was established."""
        return self._answered_ns is not None

    def begin(self) -> None:
        """The set-up is measured from now on."""
        self._began_ns = self._out.now_ns

    def tell_answered(self, to_tag: str, security: Security) -> None:
        """The call is established now, with branch *to_tag*."""
        self._answered_ns = now_ns = self._out.now_ns
        self._out.tell(
            CallAnswered,
            sip_call_id=self.call_id,
            to_tag=to_tag,
            setup_ms=(now_ns - self._began_ns) / _MS,
            security=security,
        )

    def keep(self, counts: tuple[StreamCount, ...]) -> None:
        """Keep the last packet counts, for `tell_ended`."""
        self._counts = counts

    def tell_ended(self, ending: Ending, security: Security, *, confirmed: bool) -> None:
        """The call is over; one that was *confirmed* or answered has packet counts."""
        if confirmed or self.answered:
            self._out.tell(Stats, streams=stream_stats(self._counts))
        since_ns = self._answered_ns
        self._out.tell(
            CallEnded,
            reason=ending.reason,
            side=ending.side,
            status=ending.status,
            detail=ending.detail,
            duration_s=0.0 if since_ns is None else (self._out.now_ns - since_ns) / _NS,
            security=security,
        )
