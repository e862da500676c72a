"""A key management service for tests: the real server in a process of its own, and a door before it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sipmikey.keys.key_text import parse_key
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.testing.door import Door
from sipmikey.testing.program import COMMAND, Program, run

IDENTITY = "sip:kms@example.com"
_OPENERS = "sip:kit.openers@example.com"
_POLICY = f"""
[limits.opened]
ticket_key = "responder"
flags = {{ resolve_mandatory = "allowed", key_forking = "forced-off" }}

[[rule]]
name = "tickets that the callee opens"
from = ["*"]
to = ["group:{_OPENERS}"]
decision = "allow"
limits = "opened"

[[rule]]
name = "all others"
from = ["*"]
to = ["*"]
decision = "allow"
"""
"""Whoever is in the group of openers is called in the Kerberos-like mode."""  # words: ok

START_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A subscriber of the KMS and its pre-shared key, in hexadecimal; these keys protect nothing."""

    identity: str
    psk: str
    psk_id: str

    @property
    def key(self) -> Secret:
        """The pre-shared key."""
        return parse_key(self.psk, "psk")


class RunningKms:
    """A process of `sipmikey kms serve`. ``ready`` is the document it printed when it served.

    *options* are those of the command; without `--listen` it serves a free port of 127.0.0.1. *log* gets what
    it logs. *environment* is added to this process's. Raises RuntimeError when it does not start.
    """

    def __init__(
        self,
        directory: Path,
        *options: object,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        words = [str(option) for option in options]
        if "--listen" not in words:
            words += ["--listen", "127.0.0.1:0"]
        with log.open("wb") as file:
            # It ends with its standard input, so that it does not outlive tests that were killed.
            self.process = Program(
                COMMAND, "kms", "serve", "--json", "--until-eof", "--dir", directory, *words,
                stderr=file, environment=environment,
            )  # fmt: skip
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if readable else b""
        self.ready: dict[str, Any] = json.loads(line or b"{}")
        if "urls" not in self.ready:
            self.stop()
            raise RuntimeError(f"the KMS did not start: {log.read_text(errors='replace')[-3000:]}")

    @property
    def url(self) -> str:
        """The base URL it serves first."""
        return str(self.ready["urls"][0])

    def stop(self) -> None:
        """End it with all its workers: gracefully, and after a while by force."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.close()


class KmsDirectory:
    """A KMS in *directory*, made by `sipmikey kms init` with plain HTTP and SQLite; its policy allows all.

    A context manager that serves while entered. *host* is the loopback address it serves, an IPv6 one in
    brackets. ``url`` is its base URL once it has been started.
    """

    def __init__(self, directory: Path, *, identity: str = IDENTITY, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self.identity = identity
        self._host = host
        self._running: RunningKms | None = None
        self.run("init", "--identity", identity, "--listen", f"{host}:0", "--policy", "open")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL for agents."""
        if self._running is None:
            raise LocalError(f"{self.directory}: this KMS has no URL before start()")
        return self._running.url

    def start(self, port: int = 0) -> None:
        """Serve *port* (0: any free one); return when the KMS says that it does."""
        listen = f"{self._host}:{port}"
        self._running = RunningKms(self.directory, "--listen", listen, log=self.directory.with_suffix(".log"))

    def stop(self) -> None:
        """End the server."""
        if self._running is not None:
            self._running.stop()

    def add(self, identity: str, *options: str, psk_id: str | None = None) -> User:
        """Add a subscriber with a new key; *options* are further ones of `kms user add`."""
        name = psk_id or identity.partition(":")[2].partition("@")[0]
        added = self.run("user", "add", "--psk-id", name, *options, identity)
        psk = parse_key(added["psk"], "psk").reveal().hex()
        return User(identity=identity, psk=psk, psk_id=name)

    def set_policy(self, text: str) -> None:
        """Replace the policy; before `start`."""
        (self.directory / "policy.toml").write_text(text)

    def run(self, *words: str) -> dict[str, Any]:
        """Run `sipmikey kms` with *words* and return the document it prints; RuntimeError when it fails."""
        at = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
        done = run("kms", *words[:at], "--dir", self.directory, "--json", *words[at:])
        if done.returncode != 0:
            raise RuntimeError(f"sipmikey kms {' '.join(words)}: {done.stdout}{done.stderr.strip()}")
        lines = done.stdout.splitlines()
        document: dict[str, Any] = json.loads(lines[0]) if lines else {}
        return document


class TestKms:
    """The KMS. ``url`` is where agents ask it: the door, which can be slow (`delay`) or shut (`shut`)."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.identity = IDENTITY
        self._folder = folder
        self._kms: KmsDirectory | None = None
        self._door: Door | None = None
        self._users: dict[str, User] = {}
        self._shared: dict[str, Mapping[str, str]] = {}
        self._openers: set[str] = set()

    @property
    def url(self) -> str:
        """The base URL for agents."""
        assert self._door is not None, "the KMS is not started"
        return f"http://127.0.0.1:{self._door.port}"

    def start(self) -> None:
        """Make the KMS, start its server on a free port, and open the door. A policy that is there stays."""
        of_the_test = (self._folder / "kms" / "policy.toml").exists()
        self._kms = KmsDirectory(self._folder / "kms", identity=self.identity)
        if not of_the_test:
            self._kms.set_policy(_POLICY)
        self._kms.start()
        self._door = Door(int(self._kms.url.rpartition(":")[2]))
        self._door.start()

    def stop(self) -> None:
        """End the server and close the door."""
        if self._door is not None:
            self._door.stop()
        if self._kms is not None:
            self._kms.stop()

    def user(self, identity: str) -> User:
        """Return a subscriber of the KMS, added when asked for the first time."""
        assert self._kms is not None, "the KMS is not started"
        if identity not in self._users:
            self._users[identity] = self._kms.add(identity)
        return self._users[identity]

    def ticket_key(self, identity: str) -> Mapping[str, str]:
        """Return the ticket key that *identity* and the KMS share, made when asked for the first time.

        It has ``owner``, ``key`` and ``key_id``, as `AgentSettings.ticket_keys`.
        """
        self.user(identity)
        if identity not in self._shared:
            told = self._run("tpk", "share", identity)
            key = parse_key(told["tpk"], "tpk").reveal().hex()
            self._shared[identity] = {"owner": self.identity, "key": key, "key_id": told["key_id"]}
        return self._shared[identity]

    def let_open(self, identity: str) -> None:
        """Seal tickets for *identity* with its ticket key from now on: it opens them without the KMS."""
        if identity not in self._openers:
            self.add_to_group(_OPENERS, identity)
            self._openers.add(identity)

    def seal_all(self) -> None:
        """Seal every ticket with the key of the KMS again."""
        if self._openers:
            self.remove_from_group(_OPENERS, *self._openers)
            self._openers.clear()

    def add_to_group(self, group: str, *members: str) -> None:
        """Take members into a group, which is made where there is none."""
        for member in members:
            self.user(member)
        self._run("group", "add", group, *members)

    def remove_from_group(self, group: str, *members: str) -> None:
        """Put members out of a group."""
        self._run("group", "remove", group, *members)

    def _run(self, *words: str) -> dict[str, Any]:
        assert self._kms is not None, "the KMS is not started"
        return self._kms.run(*words)

    def delay(self, seconds: float) -> None:
        """Hold back each answer of the KMS for *seconds*."""
        assert self._door is not None
        self._door.delay_s = seconds

    def shut(self, shut: bool = True) -> None:
        """Let connections to the KMS break, or work again."""
        assert self._door is not None
        self._door.shut = shut
