"""`sipmikey` commands as processes, beside a real KMS, for tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from sipmikey.testing import TestKms
from sipmikey.testing.program import COMMAND, Program
from sipmikey.testing.stacks import stack_of

Document = dict[str, Any]
ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
AS_ALICE = ["--identity", ALICE]


@pytest.fixture(scope="module")
def kms_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKms]:
    server = TestKms(tmp_path_factory.mktemp("kms"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kms(kms_server: TestKms) -> Iterator[TestKms]:
    yield kms_server
    kms_server.delay(0)
    kms_server.shut(False)


class Command:
    """A running `sipmikey` whose JSON lines are read as they come."""

    def __init__(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self.seen: list[Document] = []
        variables = {"XDG_CONFIG_HOME": "/nonexistent", **(environment or {})}
        self.process = Program(COMMAND, *words, text=True, environment=variables)

    def until(self, kind: str) -> Document:
        """Read until an event of type *kind*; what is printed besides JSON is left out."""
        assert self.process.stdout is not None
        watch = threading.Timer(60, self.process.kill)
        watch.start()
        try:
            return self._until(kind, self.process.stdout)
        finally:
            watch.cancel()

    def _until(self, kind: str, lines: IO[str]) -> Document:
        for line in lines:
            if line.startswith("{"):
                self.seen.append(json.loads(line))
                if self.seen[-1]["type"] == kind:
                    return self.seen[-1]
        raise AssertionError(f"no {kind}; {self.seen}\n{self.errors()}")

    def errors(self) -> str:
        assert self.process.stderr is not None
        return str(self.process.stderr.read())

    def finish(self) -> int:
        """Read the rest and return the exit code."""
        out, self.stderr = self.process.communicate(timeout=60)
        self.seen += [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return self.process.wait()

    def last(self, kind: str) -> Document:
        return next(event for event in reversed(self.seen) if event["type"] == kind)


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    """Start commands, and end what is left of them."""
    running: list[Command] = []

    def start(*words: str, environment: dict[str, str] | None = None) -> Command:
        running.append(Command(*words, environment=environment))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.fixture
def options(kms: TestKms, tmp_path: Path) -> Callable[..., list[str]]:
    """Options of an agent: its identity, its key file, the KMS."""

    def of(identity: str, **more: str) -> list[str]:
        user = kms.user(identity)
        key = tmp_path / f"{user.psk_id}.psk"
        key.write_text(user.psk)
        key.chmod(0o600)
        words = {
            "--identity": identity, "--kms": kms.url, "--kms-identity": kms.identity, "--psk-id": user.psk_id,
            "--psk-file": str(key), "--listen": "127.0.0.1:0",
        }  # fmt: skip
        if stack := stack_of(identity):
            words["--stack"] = stack
        words |= {f"--{name.replace('_', '-')}": value for name, value in more.items()}
        return ["--null-audio", "--json", *(text for pair in words.items() for text in pair)]

    return of


Start = Callable[..., Command]
Options = Callable[..., list[str]]
