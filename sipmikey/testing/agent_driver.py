"""The process of one agent from outside: commands go in, replies and events come out."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any

from sipmikey.testing.program import Program

WAIT_S = 15.0
"""How long to wait unless told otherwise; generous, since tests run beside others."""

START_S = 60.0
STOP_S = 20.0
LAST_LINES = 40

Fields = dict[str, Any]


class TestFailure(AssertionError):
    """What a test expected did not happen. The text says what happened instead."""

    __test__ = False


class AgentCrashed(TestFailure):
    """The process of an agent ended by itself. The text has the signal and the last lines it printed."""


class CallRefused(TestFailure):
    """A command failed because the call did. ``reason``, ``side``, ``status`` and ``detail`` say why."""

    def __init__(self, agent: str, error: Fields) -> None:
        super().__init__(
            f"{agent}: {error['reason']} by {error['side']} (SIP {error['status']}): {error['detail']}"
        )
        self.reason = str(error["reason"])
        self.side = str(error["side"])
        self.status = int(error["status"])
        self.detail = str(error["detail"])


class AgentProcess:
    """A running agent. ``contact`` is its Contact URI, ``seen`` every event so far, in order.

    ``situation`` returns what a failure tells beside: the state of the test's other agents.

    *settings* are those of `sipmikey.testing.agent_process`. Returns when the agent is ready; raises
    `AgentCrashed` or `TestFailure` when that does not happen. ``entry``: the function its process runs.
    """

    entry = "sipmikey.testing.agent_process:run"

    def __init__(self, name: str, settings: Mapping[str, Any], seen: list[Fields] | None = None) -> None:
        self.name = name
        self.seen: list[Fields] = [] if seen is None else seen
        self.situation: Callable[[], str] = lambda: ""
        self.child = Program(self.entry)
        self._news = threading.Condition()
        self._replies: dict[int, Fields] = {}
        self._verbs: dict[int, str] = {}
        self.last_call_at = 0.0
        self._numbers = itertools.count(1)
        self._lines: list[str] = []
        self._over = False
        self._readers: list[threading.Thread] = []
        for stream, take in ((self.child.stdout, self._take), (self.child.stderr, self._take_line)):
            assert stream is not None
            reader = threading.Thread(target=self._read, args=(stream, take), daemon=True)
            reader.start()
            self._readers.append(reader)
        try:
            self._write(settings)
            self.contact = str(self.event("kit.ready", timeout_s=START_S)["contact"])
        except BaseException:
            self.kill()
            raise

    @property
    def running(self) -> bool:
        """True where the process runs."""
        return self.child.poll() is None

    def start(self, verb: str, **given: Any) -> int:
        """Give a command; `finish` takes its outcome."""
        number = next(self._numbers)
        self._verbs[number] = verb
        self._write({"id": number, "do": verb, **given})
        return number

    def finish(self, number: int, *, timeout_s: float = WAIT_S) -> Any:
        """Return the result of a command given before; raises `CallRefused`."""
        reply = self.wait(
            f"end of {self._verbs.get(number, 'a command')!r}",
            lambda: self._replies.pop(number, None),
            timeout_s=timeout_s,
        )
        if "error" in reply:
            raise CallRefused(self.name, reply["error"])
        return reply["result"]

    def do(self, verb: str, *, timeout_s: float = WAIT_S, **given: Any) -> Any:
        """Carry out a command and return its result; raises `CallRefused`."""
        return self.finish(self.start(verb, **given), timeout_s=timeout_s)

    def event(self, kind: str, *, timeout_s: float = WAIT_S, start: int = 0, **values: Any) -> Fields:
        """Wait for an event of type *kind* with these values, not before the place *start* in ``seen``."""

        def found() -> Fields | None:
            for event in self.seen[start:]:
                if event["type"] == kind and all(event.get(name) == value for name, value in values.items()):
                    return event
            return None

        return self.wait(kind, found, timeout_s=timeout_s)

    def wait(self, what: str, found: Callable[[], Fields | None], *, timeout_s: float = WAIT_S) -> Fields:
        """Return what *found* returns, asked again at every event and reply until it is not None."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while (result := found()) is None:
                left = deadline - time.monotonic()
                if self._over or left <= 0:
                    break
                self._news.wait(left)
        if result is not None:
            return result
        if self._over:
            self.child.wait(10)
            raise AgentCrashed(self.crash_report() or f"the agent {self.name} has ended")
        latest = " ".join(event["type"] for event in self.seen[-12:])
        told = f"{self.name}: no {what} within {timeout_s:g} s; the latest events are: {latest or 'none'}"
        raise TestFailure("\n".join(filter(None, (told, self.situation()))))

    def tell(self, seen: list[Fields]) -> None:
        """Put the events that come from now on into *seen*."""
        with self._news:
            self.seen = seen
            self._replies.clear()

    def stop(self) -> None:
        """End the process: politely, and after twenty seconds by force. What crashed stays a failure."""
        assert self.child.stdin is not None
        with suppress(OSError):
            self.child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.child.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """End the process by force, as when a machine loses power."""
        if self.running:
            self.child.kill()
        self.child.wait()
        for reader in self._readers:
            reader.join(STOP_S)
        self.child.close()

    def crash_report(self) -> str | None:
        """Return how the process died, or None when it did not."""
        code = self.child.poll()
        if code in (None, 0):
            return None
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the agent {self.name} {how}; its last lines:\n" + "\n".join(self._lines[-10:])

    def _write(self, fields: Mapping[str, Any]) -> None:
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(json.dumps(fields).encode() + b"\n")
            self.child.stdin.flush()
        except OSError:
            with self._news:
                self._over = True

    def _read(self, stream: IO[bytes], take: Callable[[bytes], None]) -> None:
        for line in stream:
            take(line)
        with self._news:
            self._over = True
            self._news.notify_all()

    def _take(self, line: bytes) -> None:
        try:
            fields = json.loads(line)
        except ValueError:
            self._take_line(line)
            return
        with self._news:
            if "id" in fields:
                self._replies[fields["id"]] = fields
            else:
                fields.setdefault("at", time.time())
                self.seen.append(fields)
            self._news.notify_all()

    def _take_line(self, line: bytes) -> None:
        self._lines = [*self._lines[-LAST_LINES:], line.decode(errors="replace").rstrip()]
