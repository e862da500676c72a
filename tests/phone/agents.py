"""`sipmikey agent --json` as processes: what a face or a script talks to."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sipmikey.testing import TestKms
from sipmikey.testing.program import COMMAND, Program

Fields = dict[str, Any]

WAIT_S = 60


def settings(kms: TestKms, folder: Path, identity: str) -> list[str]:
    """Options of an agent: its identity, its key file, the KMS; no sound device."""
    user = kms.user(identity)
    key = folder / f"{user.psk_id}.psk"
    key.write_text(user.psk)
    key.chmod(0o600)
    return [
        "--identity", identity, "--kms", kms.url, "--kms-identity", kms.identity, "--psk-id", user.psk_id,
        "--psk-file", str(key), "--listen", "127.0.0.1:0", "--null-audio",
    ]  # fmt: skip


def configuration(kms: TestKms, folder: Path, identity: str, more: str = "") -> Path:
    """Write a configuration file for *identity*; *more* is TOML that follows."""
    user = kms.user(identity)
    key = folder / f"{user.psk_id}.psk"
    key.write_text(user.psk)
    key.chmod(0o600)
    path = folder / f"{user.psk_id}.toml"
    path.write_text(
        f'[identity]\nuri = "{identity}"\n[kms]\nurl = "{kms.url}"\nidentity = "{kms.identity}"\n'
        f'psk_id = "{user.psk_id}"\npsk_file = "{key}"\n[sip]\nlisten = "127.0.0.1:0"\n'
        f'[media]\ndevice = "null"\n{more}'
    )
    path.chmod(0o600)
    return path


class JsonAgent:
    """A running `sipmikey agent --json`."""

    def __init__(self, words: list[str], environment: dict[str, str] | None = None) -> None:
        self.contact = ""
        self.seen: list[Fields] = []
        self._identifiers = iter(range(1, 1000))
        self._news: queue.Queue[Fields | None] = queue.Queue()
        variables = {"XDG_CONFIG_HOME": "/nonexistent", **(environment or {})}
        self.process = Program(COMMAND, "agent", "--json", *words, text=True, environment=variables)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self._news.put(json.loads(line))
        self._news.put(None)

    def until(self, kind: str, fits: Callable[[Fields], bool] = lambda event: True) -> Fields:
        """Read until an event of type *kind* that *fits*."""
        while (event := self._news.get(timeout=WAIT_S)) is not None:
            self.seen.append(event)
            if event["type"] == kind and fits(event):
                return event
        assert self.process.stderr is not None
        kinds = [one["type"] for one in self.seen]
        raise AssertionError(f"no {kind} in {kinds}\n{self.process.stderr.read()}")

    def next(self) -> None:
        """Wait for the next event."""
        event = self._news.get(timeout=WAIT_S)
        assert event is not None, [one["type"] for one in self.seen]
        self.seen.append(event)

    def heard(self, kind: str) -> bool:
        """Take what has come so far; tell whether an event of type *kind* is among all that was seen."""
        with suppress(queue.Empty):
            while (event := self._news.get_nowait()) is not None:
                self.seen.append(event)
        return any(event["type"] == kind for event in self.seen)

    def write(self, line: str) -> None:
        """Write a line as it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def begin(self, do: str, **fields: Any) -> int:
        """Write a command and return its id."""
        identifier = next(self._identifiers)
        self.write(json.dumps({"id": identifier, "do": do, **fields}))
        return identifier

    def outcome(self, identifier: int) -> Fields:
        """Read until the outcome of a command."""
        while True:
            event = self._news.get(timeout=WAIT_S)
            assert event is not None, [one["type"] for one in self.seen]
            self.seen.append(event)
            if event["type"] in ("command.done", "command.failed") and event["id"] == identifier:
                return event

    def do(self, do: str, **fields: Any) -> Fields:
        """Carry out a command that has to work, and return its result."""
        outcome = self.outcome(self.begin(do, **fields))
        assert outcome["type"] == "command.done", outcome
        return outcome

    def end(self) -> int:
        """Close standard input and return the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=WAIT_S)

    def kill(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
