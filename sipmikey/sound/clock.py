"""A thread that does something every 20 ms of its own clock, and catches up when it was late."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("sipmikey.sound.clock")

_FARTHEST_BEHIND_S = 0.2


class Clock:
    """Calls *tick* every *period_s* seconds, from `start` to `stop`, after *prepare* in the same thread."""

    def __init__(
        self, period_s: float, tick: Callable[[], None], prepare: Callable[[], None] | None = None
    ) -> None:
        self._period = period_s
        self._tick = tick
        self._prepare = prepare
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Start, unless it runs."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="sipmikey-sound", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the last tick is over."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        try:
            if self._prepare is not None:
                self._prepare()
            due = time.monotonic()
            while not self._stopping.is_set():
                self._tick()
                due += self._period
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                elif wait < -_FARTHEST_BEHIND_S:  # suspended or starved: no burst of old sound
                    due = time.monotonic()
        except Exception:  # noqa: BLE001 - the thread's end is told; the calls go on without sound
            _log.exception("the sound clock ended")
