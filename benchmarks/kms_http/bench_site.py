"""A KMS for benchmarks: made with the `sipmikey kms` command, and messages made before the clock runs."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import load

from sipmikey.cli.main import main
from sipmikey.keys.suite import SUITES, Suite
from sipmikey.mikey import SP, GenericIdEntry, SrtpPolicy, SrtpSessionData
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.ticket import (
    FULL_MODE,
    PreSharedKey,
    RequestedKey,
    TicketGrant,
    TicketPolicy,
    TicketRequest,
    TicketResolve,
    TransferInitiator,
    TransferResponder,
)

KMS, ALICE, BOB = "sip:kms@example.com", "sip:alice@example.com", "sip:bob@example.com"
REQUEST_PATH = "/keymanagement?requesttype=ticketrequest"
RESOLVE_PATH = "/keymanagement?requesttype=ticketresolve"
NO_LIMITS = """
[limits]
address_per_second = 0
subscriber_per_second = 0
"""

env = environment()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A subscriber and its key."""

    identity: str
    psk: PreSharedKey


def make_site(directory: Path, *options: str, limits: str = NO_LIMITS) -> tuple[User, User]:
    """Make a KMS in *directory* and return alice and bob."""
    with contextlib.redirect_stdout(sys.stderr):
        _command("init", "--dir", str(directory), "--identity", KMS, "--policy", "open", *options)
        with (directory / "kms.toml").open("a", encoding="utf-8") as file:
            file.write(limits)
        return add_user(directory, ALICE), add_user(directory, BOB)


def add_user(directory: Path, identity: str) -> User:
    """Add a subscriber."""
    name = identity.partition(":")[2].partition("@")[0]
    file = directory / f"{name}.psk"
    _command("user", "add", "--dir", str(directory), identity, "--psk-id", name, "--psk-file", str(file))
    key = Secret(base64.b64decode(file.read_text(encoding="ascii")))
    return User(identity=identity, psk=PreSharedKey(key=key, key_id=name.encode()))


def _command(*words: str) -> None:
    if main(["kms", *words]) != 0:
        raise RuntimeError(f"sipmikey kms {words[0]} failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running service: its process and address."""

    pid: int
    address: tuple[str, int]
    metrics: str | None

    def cpu_seconds(self) -> float:
        """Return the CPU time of the service and its workers."""
        return sum(load.cpu_seconds(pid) for pid in self.processes())

    def processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [self.pid, *map(int, children.split())]


@contextlib.contextmanager
def serving(directory: Path, *options: str, cores: str = "0") -> Iterator[Server]:
    """Run the service on the given cores (as `taskset -c` writes them); it ends with the benchmark."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stopped benchmark cleans up
    process = subprocess.Popen(
        [
            *("taskset", "-c", cores, sys.executable, "-m", "sipmikey.cli", "kms", "serve", "--json"),
            *("--dir", str(directory), "--listen", "127.0.0.1:0", "--log-level", "error"),
            *options,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        parts = urlsplit(ready["urls"][0])
        assert parts.hostname is not None
        assert parts.port is not None
        yield Server(pid=process.pid, address=(parts.hostname, parts.port), metrics=ready["metrics"])
    finally:
        process.terminate()
        process.wait()


def ticket_requests(asker: User, responders: Sequence[str], count: int, suite: str) -> list[TicketRequest]:
    """Start *count* Ticket Requests."""
    chosen = SUITES[suite]
    policy = TicketPolicy(
        suite=chosen,
        flags=FULL_MODE,
        responders=tuple(responders),
        kms=KMS,
        initiator=asker.identity,
        requested_keys=(RequestedKey(length=chosen.key_length),),
    )
    return [
        TicketRequest.start(env, policy=policy, credential=asker.psk, identity=asker.identity, kms=KMS)
        for _ in range(count)
    ]


def ticket_resolves(grant: TicketGrant, asker: User, answerer: User, count: int) -> list[TicketResolve]:
    """Start *count* Ticket Resolves of a ticket of *asker* by *answerer*."""
    sessions, policies = _sessions(grant, grant.policy.suite)
    transfer = TransferInitiator.start(
        env,
        grant,
        crypto_sessions=sessions,
        policies=policies,
        initiator=asker.identity,
        responder=answerer.identity,
    )
    ticket = TransferResponder(env, transfer.message, identity=answerer.identity).ticket
    return [
        TicketResolve.start(env, ticket=ticket, credential=answerer.psk, identity=answerer.identity, kms=KMS)
        for _ in range(count)
    ]


def _sessions(grant: TicketGrant, suite: Suite) -> tuple[tuple[GenericIdEntry, ...], tuple[SP, ...]]:
    """One stream: CS ID 1 from the Initiator, CS ID 2 from the Responder."""
    spi = grant.keys[0].spi or b""
    data = SrtpSessionData(ssrc=0x11111111).encode()
    sessions = (
        GenericIdEntry(cs_id=1, policies=(0,), session_data=data, spi=spi),
        GenericIdEntry(cs_id=2, policies=(0,)),
    )
    return sessions, (SrtpPolicy.aes_cm(suite.key_length).payload(0),)


def pin(core: int) -> None:
    """Keep this process off the server's core."""
    os.sched_setaffinity(0, {core})
