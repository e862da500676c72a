"""Servers that fail, PostgreSQL with a standby and Redis with Sentinels, and who asks meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sipmikey.ticket import TicketGrant
from tests.kms.http.serving import BOB, Service, Subscriber
from tests.kms.servers import OWNER, Missing, _postgres_bin

START_S = 30.0
Post = Callable[[bytes], tuple[int, bytes]]
"""Sends a message; returns the HTTP status and the answer."""


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as found:
        found.bind((address, 0))
        port: int = found.getsockname()[1]
        return port


def until(holds: Callable[[], bool], what: str, *, within_s: float = START_S) -> float:
    """Wait until *holds*; return the seconds that took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within_s:
            raise AssertionError(f"{what}: not within {within_s:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


class Postgres:
    """A primary and a standby that follows it, synchronously, on ports of *address*."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._bin = _postgres_bin()
        self.directory = Path(tempfile.mkdtemp(prefix="kms-ha-"))
        self._as_owner = ["runuser", "-u", OWNER, "--"] if os.geteuid() == 0 else []
        if self._as_owner:
            shutil.chown(self.directory, OWNER)
        self.address = address
        self.ports = {"one": free_port(address), "two": free_port(address)}
        self._run("initdb", "-D", self._data("one"), "-A", "trust", "-U", "kms", "--no-sync", "-E", "UTF8")
        with Path(self._data("one"), "pg_hba.conf").open("a") as file:
            file.write("host all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n")
        self._start("one", "-c synchronous_standby_names=*")
        self._run(
            "pg_basebackup", "-D", self._data("two"), "-R", "-X", "stream", "-c", "fast", "--no-sync",
            "-d", f"host={address} port={self.ports['one']} user=kms application_name=two",
        )  # fmt: skip
        self._start("two", "")
        self._run("createdb", "-h", address, "-p", str(self.ports["one"]), "-U", "kms", "kms")

    @property
    def url(self) -> str:
        hosts = ",".join(f"{self.address}:{port}" for port in self.ports.values())
        return f"postgresql://kms@{hosts}/kms?target_session_attrs=read-write"

    def kill_primary(self) -> None:
        """End the primary as a power failure does."""
        pid = int(Path(self._data("one"), "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (pid, *map(int, children)):
            os.kill(number, signal.SIGKILL)

    def promote(self) -> None:
        """Make the standby the primary."""
        self._run("pg_ctl", "-D", self._data("two"), "-w", "promote")

    def remove(self) -> None:
        for name in self.ports:
            pid = Path(self._data(name), "postmaster.pid")
            if pid.exists():
                stop = [str(self._bin / "pg_ctl"), "-D", self._data(name), "-m", "immediate", "stop"]
                subprocess.run(
                    [*self._as_owner, *stop],
                    cwd=self.directory, capture_output=True, check=False, timeout=60,
                )  # fmt: skip
        shutil.rmtree(self.directory, ignore_errors=True)

    def _data(self, name: str) -> str:
        return str(self.directory / name)

    def _start(self, name: str, options: str) -> None:
        settings = (
            f"-c listen_addresses={self.address} -c port={self.ports[name]} -c fsync=off "
            "-c shared_buffers=32MB "
            f"-c max_connections=80 -c unix_socket_directories={self.directory} {options}"
        )
        log = str(self.directory / f"{name}.log")
        self._run("pg_ctl", "-D", self._data(name), "-l", log, "-w", "-t", "30", "-o", settings, "start")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as_owner, str(self._bin / program), *arguments],
            cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=90,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")


class RedisPair:
    """A Redis, a replica of it, and three Sentinels that watch both."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
            raise Missing("redis-server is not installed")
        self.directory = Path(tempfile.mkdtemp(prefix="kms-sentinel-"))
        self.address = address
        self.ports = [free_port(address) for _ in range(2)]
        self.sentinels = [free_port(address) for _ in range(3)]
        self._processes: list[subprocess.Popen[bytes]] = []
        common = f"bind {address}\nprotected-mode no\nsave ''\nmaxmemory-policy noeviction\n"
        for number, port in enumerate(self.ports):
            follows = f"replicaof {address} {self.ports[0]}\n" if number else ""
            self._serve(f"redis-{number}", f"port {port}\n{common}{follows}repl-diskless-sync-delay 0\n")
        until(lambda: "master_link_status:up" in self._told(1, "info", "replication"), "the replica follows")
        for number, port in enumerate(self.sentinels):
            self._serve(
                f"sentinel-{number}",
                f"port {port}\nbind {address}\nprotected-mode no\n"
                f"sentinel monitor kms {address} {self.ports[0]} 2\n"
                "sentinel down-after-milliseconds kms 1000\nsentinel failover-timeout kms 3000\n",
                "--sentinel",
            )
        until(lambda: all(map(self._sees_others, self.sentinels)), "the Sentinels see each other")

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'{self.address}:{port}' for port in self.sentinels)}/kms/0"

    def kill_master(self) -> None:
        self._processes[0].kill()
        self._processes[0].wait(10)

    def remove(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _serve(self, name: str, settings: str, *options: str) -> None:
        place = self.directory / name
        place.mkdir()
        (place / "conf").write_text(f"dir {place}\n{settings}")
        command = ["redis-server", str(place / "conf"), *options]
        self._processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    def _told(self, number: int, *words: str) -> str:
        return self._asked(self.ports[number], *words)

    def _sees_others(self, port: int) -> bool:
        told = self._asked(port, "sentinel", "master", "kms").splitlines()
        facts = dict(zip(told[::2], told[1::2], strict=False))
        return facts.get("num-other-sentinels") == "2" and facts.get("num-slaves") == "1"

    def _asked(self, port: int, *words: str) -> str:
        command = ["redis-cli", "-h", self.address, "-p", str(port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout


@dataclass(slots=True)
class Tally:
    """What became of messages: by HTTP status, 0 where no answer came. ``granted``: message and answer."""

    sent: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    granted: list[tuple[bytes, TicketGrant]] = field(default_factory=list)

    def ask(self, post: Post, caller: Subscriber) -> int:
        """Ask for a ticket once; return the status."""
        request = caller.request(BOB)
        self.sent += 1
        try:
            status, body = post(request.message)
        except OSError:
            status, body = 0, b""
        self.by_status[status] += 1
        if status == 200:
            self.granted.append((request.message, request.receive(body)))
        return status

    def again(self, post: Post) -> Counter[int]:
        """Send every message that was granted a second time; return the statuses."""
        return Counter(post(message)[0] for message, _ in self.granted)

    def resolved(self, post: Post, caller: Subscriber, called: Subscriber) -> int:
        """Resolve every ticket that was granted; return how many could be."""
        return sum(post(called.resolve(grant, caller).message)[0] == 200 for _, grant in self.granted)

    def told(self) -> str:
        answered = sum(count for status, count in self.by_status.items() if status)
        refused = answered - self.by_status[200]
        return (
            f"sent {self.sent}, answered {answered}, granted {self.by_status[200]}, refused {refused} "
            f"({dict(self.by_status)}), without an answer {self.by_status[0]}"
        )


def poster(service: Service, path: str) -> Post:
    def post(message: bytes) -> tuple[int, bytes]:
        status, _, body = service.post(message, path=path)
        return status, body

    return post
