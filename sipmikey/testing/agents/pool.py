"""Agents that outlive a test: processes that wait for the next test that wants one with the same settings."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from sipmikey.testing.agent_driver import AgentProcess, Fields, TestFailure
from sipmikey.testing.switchboard import Switchboard

MOST_IDLE = 12
CLEAR_S = 15.0


class AgentPool:
    """Processes of agents for a whole run, and the switchboard that they all have as their proxy.

    Starting an agent takes most of a second; one that runs serves the next test immediately. Between tests
    each ends every call. Their logs are in *folder*.
    """

    def __init__(self, folder: Path) -> None:
        self.switchboard = Switchboard()
        self._folder = folder
        self._idle: list[tuple[str, AgentProcess]] = []
        self._number = 0

    def start(self) -> None:
        """Open the switchboard."""
        self.switchboard.start()

    def stop(self) -> None:
        """End every agent that waits, and the switchboard."""
        for _, process in self._idle:
            process.stop()
        self._idle.clear()
        self.switchboard.stop()

    def take(self, name: str, settings: Fields, seen: list[Fields]) -> AgentProcess:
        """Return an agent with these settings, which tells its events to *seen* from now on."""
        wanted = _key(settings)
        for place, (key, process) in enumerate(self._idle):
            if key == wanted and process.running:
                del self._idle[place]
                process.tell(seen)
                return process
        self._number += 1
        log = self._folder / f"{name}-{self._number}.log"
        return AgentProcess(name, {**settings, "log_file": str(log)}, seen)

    def give_back(self, settings: Fields, process: AgentProcess) -> None:
        """Have an agent end its calls and wait for another test; end it where that does not work."""
        with suppress(TestFailure):
            if process.running and len(self._idle) < MOST_IDLE:
                process.situation = lambda: ""
                process.do("clear", timeout_s=CLEAR_S)
                process.last_call_at = time.monotonic()
                self._idle.append((_key(settings), process))
                return
        process.stop()


def _key(settings: Fields) -> str:
    return json.dumps({**settings, "log_file": ""}, sort_keys=True, default=list)
