"""The packet counts of a call's streams, including streams that were made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sipmikey.agent.pjsua.library import pj
from sipmikey.agent.stack import StreamCount


class StreamCounts:
    """The counts of one call by m-line index, as pjsua2's *call* tells them.

    *trouble* says, given an index and the packets received, what is wrong with those that do not verify;
    *source* gives the SSRC heard on the ``pjmedia_stream`` at an address.
    """

    def __init__(
        self, call: Callable[[], Any], trouble: Callable[[int, int], str], source: Callable[[int], int]
    ) -> None:
        self._call = call
        self._trouble = trouble
        self._source = source
        self._past: dict[int, StreamCount] = {}

    def keep(self, index: int, stream: int) -> None:
        """Keep the counts of a stream that is about to go."""
        self._past[index] = _sum(self._past.get(index), self._count(index, stream))

    def all(self, streams: Mapping[int, int]) -> tuple[StreamCount, ...]:
        """Return the counts so far. *streams*: those that exist, index to address."""
        now = {index: self._count(index, stream) for index, stream in streams.items()}
        return tuple(
            _sum(self._past.get(index), now.get(index)) for index in sorted(self._past.keys() | now.keys())
        )

    def _count(self, index: int, stream: int) -> StreamCount:
        try:
            call = self._call()
            # The statistics are views into the object they come from: it must stay referenced.
            whole = call.getStreamStat(index)
            codec = str(call.getStreamInfo(index).codecName)
        except pj.Error:
            return StreamCount(index=index, codec="", sent=0, received=0, lost=0)
        rtcp = whole.rtcp
        return StreamCount(
            index=index,
            codec=codec,
            sent=int(rtcp.txStat.pkt),
            received=int(rtcp.rxStat.pkt),
            lost=int(rtcp.rxStat.loss),
            trouble=self._trouble(index, int(rtcp.rxStat.pkt)),
            source=self._source(stream),
        )


def _sum(past: StreamCount | None, now: StreamCount | None) -> StreamCount:
    if past is None or now is None:
        one = past or now
        assert one is not None
        return one
    return StreamCount(
        index=now.index,
        codec=now.codec or past.codec,
        sent=past.sent + now.sent,
        received=past.received + now.received,
        lost=past.lost + now.lost,
        trouble=now.trouble,
        source=now.source,
    )
