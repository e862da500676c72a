"""A key management service for tests: the real server in a process of its own, behind a door."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipmikey.testing.door import Door

IDENTITY = "sip:kms@example.com"
KMS = (sys.executable, "-m", "sipmikey.cli", "kms")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A subscriber of the KMS and its pre-shared key, in hexadecimal; these keys protect nothing."""

    identity: str
    psk: str
    psk_id: str


class TestKms:
    """The KMS. ``url`` is where agents ask it: the door, which can be slow (`delay`) or shut (`shut`)."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.identity = IDENTITY
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._door: Door | None = None
        self._users: dict[str, User] = {}

    @property
    def url(self) -> str:
        """The base URL for agents."""
        assert self._door is not None, "the KMS is not started"
        return f"http://127.0.0.1:{self._door.port}"

    def start(self) -> None:
        """Make the KMS, start its server on a free port, and open the door."""
        self._command("init", "--identity", IDENTITY, "--listen", "127.0.0.1:0")
        self._log = (self._folder / "kms.log").open("wb")
        self._server = subprocess.Popen(
            [*KMS, "serve", "--dir", str(self._folder / "kms"), "--json", "--until-eof"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the KMS did not start: {(self._folder / 'kms.log').read_text()}")
        port = int(json.loads(line)["urls"][0].rpartition(":")[2])
        self._door = Door(port)
        self._door.start()

    def stop(self) -> None:
        """End the server and close the door."""
        if self._door is not None:
            self._door.stop()
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            assert self._server.stdout is not None
            assert self._server.stdin is not None
            self._server.stdout.close()
            self._server.stdin.close()
            self._log.close()

    def user(self, identity: str) -> User:
        """Return a subscriber of the KMS, added when asked for the first time."""
        if identity not in self._users:
            name = identity.partition(":")[2].partition("@")[0]
            added = self._command("user", "add", "--psk-id", name, identity)
            psk = base64.b64decode(added["psk"]).hex()
            self._users[identity] = User(identity=identity, psk=psk, psk_id=name)
        return self._users[identity]

    def delay(self, seconds: float) -> None:
        """Hold each answer of the KMS back so long; 0 is at once."""
        assert self._door is not None
        self._door.delay_s = seconds

    def shut(self, shut: bool = True) -> None:
        """Let connections to the KMS break, or work again."""
        assert self._door is not None
        self._door.shut = shut

    def _command(self, *words: str) -> dict[str, Any]:
        """Run `sipmikey kms` with *words* and return the document it prints."""
        at = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
        done = subprocess.run(
            [*KMS, *words[:at], "--dir", str(self._folder / "kms"), "--json", *words[at:]],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"sipmikey kms {' '.join(words)}: {done.stderr.strip()}")
        lines = done.stdout.splitlines()
        document: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return document
