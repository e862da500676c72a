"""The project's KMS as a process, set up with its own commands."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.interop.lab.kamailio import DOMAIN
from tests.interop.lab.process import PeerFailed, Process
from tests.interop.lab.sip import bracketed

IDENTITY = f"sip:kms@{DOMAIN}"
COMMAND = (sys.executable, "-m", "sipmikey.cli")
COMMAND_SECONDS = 30.0
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """What an agent needs to be known to the KMS. ``psk`` in octets."""

    identity: str
    psk: bytes
    psk_id: str


def uri(user: str) -> str:
    """The SIP identity of a lab user."""
    return f"sip:{user}@{DOMAIN}"


class Kms:
    """A KMS on the loopback address *host*, plain HTTP, SQLite, in *directory*.

    A context manager: serves while entered.
    """

    def __init__(self, directory: Path, *, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self._host = bracketed(host)
        self._process: Process | None = None
        self.url = ""
        self.subscribers: dict[str, Subscriber] = {}
        self.run("init", "--identity", IDENTITY, "--listen", f"{self._host}:0")

    def add_user(self, user: str, *more: str) -> Subscriber:
        """Add a subscriber (further options of `kms user add` in *more*)."""
        added = self.run("user", "add", uri(user), *more)
        key = base64.b64decode(added["psk"])
        subscriber = Subscriber(identity=uri(user), psk=key, psk_id=added["psk_id"])
        self.subscribers[user] = subscriber
        return subscriber

    def set_policy(self, text: str) -> None:
        """Replace the policy; before `start`."""
        (self.directory / "policy.toml").write_text(text)

    def run(self, *words: str) -> dict[str, object] | dict[str, str]:
        """Run a `sipmikey kms` command and return its JSON document."""
        argv = [*COMMAND, "kms", *words, "--dir", str(self.directory), "--json"]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, env={**os.environ, **ENVIRONMENT}
        )
        if done.returncode != 0:
            raise PeerFailed(f"sipmikey kms {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return dict(json.loads(done.stdout.splitlines()[0]))

    def start(self, port: int = 0) -> None:
        """Serve at *port* (0: any); returns when the KMS says that it does."""
        listen = f"{self._host}:{port}"
        argv = [*COMMAND, "kms", "serve", "--dir", self.directory, "--json", "--listen", listen]
        self._process = Process(argv, name="kms", env=ENVIRONMENT)
        try:
            line = self._process.lines[self._process.wait_for('"kms.ready"')]
        except PeerFailed:
            self._process.stop()
            raise
        self.url = str(json.loads(line)["urls"][0])

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
