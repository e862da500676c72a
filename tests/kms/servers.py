"""Private servers for a test run: a PostgreSQL cluster and a Redis, on sockets of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

OWNER = "postgres"
START_S = 20.0


class Missing(Exception):
    """The server is not installed."""


class PostgresCluster:
    """A cluster on a Unix socket, run by another user where this one is root."""

    def __init__(self) -> None:
        self._bin = _postgres_bin()
        self.directory = Path(tempfile.mkdtemp(prefix="kms-pg-"))
        self._as_owner = ["runuser", "-u", OWNER, "--"] if os.geteuid() == 0 else []
        if self._as_owner:
            shutil.chown(self.directory, OWNER)
        self._databases = 0
        data = self.directory / "data"
        self._run("initdb", "-D", str(data), "-A", "trust", "-U", "kms", "--no-sync", "-E", "UTF8")
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self.directory}'\n"
                "fsync = off\nshared_buffers = '64MB'\nmax_connections = 60\n"
            )
        self.start()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        data, log = self.directory / "data", self.directory / "log"
        self._run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-t", "20", "start")

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server, as by a crash if *immediately*."""
        mode = "immediate" if immediately else "fast"
        self._run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-m", mode, "stop")

    def database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"kms{self._databases}"
        self._run("createdb", "-h", str(self.directory), "-U", "kms", name)
        return f"postgresql:///{name}?host={self.directory}&user=kms"

    def remove(self) -> None:
        """Stop the server, if it runs, and delete all it had."""
        try:
            if (self.directory / "data" / "postmaster.pid").exists():
                self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as_owner, str(self._bin / program), *arguments],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")


class RedisServer:
    """A Redis on a Unix socket, without persistence."""

    def __init__(self) -> None:
        if shutil.which("redis-server") is None:
            raise Missing("redis-server is not installed")
        self.directory = Path(tempfile.mkdtemp(prefix="kms-redis-"))
        self.socket = self.directory / "socket"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                "redis-server",
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--dir",
                str(self.directory),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while True:
            ping = subprocess.run(
                ["redis-cli", "-s", str(self.socket), "ping"], capture_output=True, check=False
            )
            if ping.stdout.strip() == b"PONG":
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server does not answer")

    def stop(self) -> None:
        """Stop the server; it forgets everything."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def remove(self) -> None:
        """Stop the server and delete its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def _postgres_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise Missing("PostgreSQL's initdb is not installed")
    return Path(initdb).parent
