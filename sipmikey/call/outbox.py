"""The outputs of a call, collected from its parts."""

from __future__ import annotations

from typing import Any

from sipmikey.call.events import Event
from sipmikey.call.outputs import Output, StartTimer, StopTimer, Tell, Timer

_NS = 1e9


class Outbox:
    """The outputs of one input. *call*: the number of the call, for its events.

    ``now_ns``: the time of the input, nanoseconds since 1970. ``timers``: those that run.
    """

    def __init__(self, call: str) -> None:
        self.call = call
        self.now_ns = 0
        self.timers: set[Timer] = set()
        self._outputs: list[Output] = []

    def put(self, output: Output) -> None:
        """Add *output*."""
        self._outputs.append(output)

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """Add an event of *kind* about this call."""
        self.put(Tell(event=kind(at=self.now_ns / _NS, call=self.call, **fields)))

    def start(self, timer: Timer, after_s: float) -> None:
        """Have *timer* ring this many seconds from now."""
        self.timers.add(timer)
        self.put(StartTimer(timer=timer, after_s=after_s))

    def stop(self, *timers: Timer) -> None:
        """Stop those of *timers* that run."""
        for timer in timers:
            if timer in self.timers:
                self.timers.remove(timer)
                self.put(StopTimer(timer=timer))

    def drain(self) -> tuple[Output, ...]:
        """Return the outputs, in order, and forget them."""
        outputs, self._outputs = tuple(self._outputs), []
        return outputs
