"""What an agent itself counts of its sound: buffers that ran empty, packets lost, a clock that was late.

`run` is the entry of the agent's process; `order` says before where the counts go and how slow its clock is,
`tell` prints them after.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sipmikey.media.voice.jitter import JitterBuffer
from sipmikey.sound.clock import Clock
from sipmikey.sound.elastic import Elastic
from sipmikey.sound.line import Line
from sipmikey.testing import agent_process

_FILE, _PPM = "SIPMIKEY_BENCHMARK_COUNTS", "SIPMIKEY_BENCHMARK_PPM"
_LATE_S = 0.010
_BLOCK_LATE_S = 0.015
_PAUSE_S = 0.005
_SUFFIX = ".counts.json"

Times = defaultdict[str, list[tuple[float, float]]]
"""When it happened, and for how many seconds."""


def order(folder: Path, person: str, ppm: float) -> None:
    """Have the next agent that starts count, with a clock *ppm* slow."""
    os.environ[_FILE] = str(folder / f"{person}{_SUFFIX}")
    os.environ[_PPM] = str(ppm)


def run() -> None:
    """Run an agent that counts; the entry of its process."""
    times: Times = defaultdict(list)
    _count_devices(times)
    _count_blocks(times)
    _count_collections(times)
    _count_clock(times, float(os.environ[_PPM]))
    jitter = _count_jitter(times)
    try:
        agent_process.run()
    finally:
        Path(os.environ[_FILE]).write_text(json.dumps({"times": times, "pjmedia": jitter}))


def _count_devices(times: Times) -> None:
    """Note when the buffer of a microphone or a speaker has too little, or is cut."""
    roles: dict[int, str] = {}
    made = Line.__init__

    def begin(self: Line, direction: Any, *more: Any) -> None:
        made(self, direction, *more)
        roles[id(self.elastic)] = str(direction)

    gap, write = Elastic._gap, Elastic.write

    def counted_gap(self: Elastic, count: int) -> Any:
        times[f"{roles.get(id(self), 'other')} empty"].append((time.monotonic(), 0.0))
        return gap(self, count)

    def counted_write(self: Elastic, samples: Any) -> None:
        before = self._skips
        write(self, samples)
        if self._skips > before:
            times[f"{roles.get(id(self), 'other')} cut"].append((time.monotonic(), 0.0))

    Line.__init__ = begin  # type: ignore[assignment, method-assign]
    Elastic._gap = counted_gap  # type: ignore[assignment, method-assign]
    Elastic.write = counted_write  # type: ignore[assignment, method-assign]


def _count_blocks(times: Times) -> None:
    """Note when a device gives or asks for its next block late."""

    def counted(word: str, made: Callable[[Line], Any]) -> Callable[[Line], Any]:
        def begin(self: Line) -> Any:
            inner = made(self)
            last = time.monotonic()
            given = yield next(inner)
            while True:
                now = time.monotonic()
                size = given if isinstance(given, int) else len(given) // 2
                if now - last > size / 16000 + _BLOCK_LATE_S:
                    times[f"{word} late"].append((now, now - last))
                last = now
                answer = inner.send(given)
                took = time.monotonic() - now
                if took > _PAUSE_S:
                    times[f"{word} slow"].append((now, took))
                given = yield answer

        return begin

    Line._feed = counted("microphone", Line._feed)  # type: ignore[method-assign]
    Line._source = counted("speaker", Line._source)  # type: ignore[method-assign]


def _count_collections(times: Times) -> None:
    """Note when the collection of garbage takes long."""
    begun = 0.0

    def note(phase: str, _: object) -> None:
        nonlocal begun
        now = time.monotonic()
        if phase == "start":
            begun = now
        elif now - begun > _PAUSE_S:
            times["collection of garbage"].append((now, now - begun))

    gc.callbacks.append(note)


def _count_clock(times: Times, ppm: float) -> None:
    """Have the clock run slow, and note when a tick comes late."""
    made = Clock.__init__

    def slow(self: Clock, period_s: float, tick: Callable[[], None], *more: Any) -> None:
        last = time.monotonic()

        def counted() -> None:
            nonlocal last
            now = time.monotonic()
            if now - last > period_s + _LATE_S:
                times["clock late"].append((now, now - last - period_s))
            last = now
            tick()

        made(self, period_s * (1 + ppm * 1e-6), counted, *more)

    Clock.__init__ = slow  # type: ignore[assignment, method-assign]


def _count_jitter(times: Times) -> dict[str, int]:
    """Note what the jitter buffers of the Python engine lack; return those counts of pjmedia's, kept new."""
    for name, word in (("_was_lost", "lost"), ("_was_late", "late"), ("_run_dry", "dry")):
        _count_calls(times, name, f"jitter {word}")
    newest: dict[str, int] = {}
    try:
        from sipmikey.agent.pjsua.media.stream_counts import StreamCounts
    except ImportError:
        return newest
    count = StreamCounts._count

    def counted(self: Any, index: int, stream: int) -> Any:
        try:
            buffer = self._call().getStreamStat(index).jbuf
            newest.update(
                lost=int(buffer.lost), discard=int(buffer.discard), empty=int(buffer.empty),
                delay_ms=int(buffer.avgDelayMsec),
            )  # fmt: skip
        except Exception:
            pass  # a call that is over has no more counts
        return count(self, index, stream)

    StreamCounts._count = counted  # type: ignore[assignment, method-assign]
    return newest


def _count_calls(times: Times, name: str, word: str) -> None:
    counted = getattr(JitterBuffer, name)

    def call(self: JitterBuffer, *given: Any) -> Any:
        times[word].append((time.monotonic(), 0.0))
        return counted(self, *given)

    setattr(JitterBuffer, name, call)


def tell(folder: Path, since: float) -> None:
    """Print what the agents counted from *since* on."""
    print("\n| agent | what it counted |\n|---|---|")
    for file in sorted(folder.glob(f"*{_SUFFIX}")):
        told = json.loads(file.read_text())
        found = Counter(
            {
                word: count
                for word, times in told["times"].items()
                if (count := sum(at > since for at, _ in times))
            }
        )
        words = [f"{word}: {count}" for word, count in sorted(found.items())]
        words += [f"pjmedia's jitter buffer {word}: {count}" for word, count in told["pjmedia"].items()]
        print(f"| {file.name.removesuffix(_SUFFIX)} | {', '.join(words) or 'nothing'} |")


def causes(folder: Path, people: list[str], at: float, *, before: float = 0.4) -> str:
    """Return what those *people*'s agents counted in the time before something happened at *at*."""
    told = []
    for person in people:
        file = folder / f"{person}{_SUFFIX}"
        for word, times in json.loads(file.read_text())["times"].items():
            told += [
                (when - at, f"{person}: {word}{f' {took * 1e3:.0f} ms' if took else ''}")
                for when, took in times
                if at - before < when < at + 0.05
            ]
    return "; ".join(f"{when * 1e3:+.0f} ms {word}" for when, word in sorted(told)) or "nothing"
