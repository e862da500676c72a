"""MIT krb5's KDC as the yardstick: a realm of its own in a scratch directory, and TGS requests to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import load

REALM = "BENCH.TEST"
CLIENT, SERVICE = "alice", "voice/bob"

_CLIENT_CONFIGURATION = """\
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
[logging]
  kdc = FILE:{directory}/kdc.log
"""

_KDC_CONFIGURATION = """\
[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {directory}/principal
    key_stash_file = {directory}/stash
    supported_enctypes = aes256-cts-hmac-sha1-96:normal
  }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kdc:
    """A running KDC: its process id, and what its clients need."""

    pid: int
    directory: Path
    environment: dict[str, str]

    def round(self, *, clients: int, count: int) -> dict[str, float]:
        """Run *clients* at once, *count* TGS exchanges each; return rates and the KDC's CPU time for each."""
        before = load.cpu_seconds(self.pid)
        began = time.perf_counter()
        running = [
            subprocess.Popen(
                [
                    "taskset",
                    "-c",
                    "1",
                    "./tgs_client",
                    CLIENT,
                    f"FILE:{self.directory}/keytab",
                    SERVICE,
                    str(count),
                ],
                cwd=self.directory,
                env=self.environment,
                stdout=subprocess.PIPE,
            )
            for _ in range(clients)
        ]
        outputs = [json.loads(process.communicate()[0]) for process in running]
        elapsed = time.perf_counter() - began
        served = clients * (count + 1)
        return {
            "per_second": sum(output["count"] / output["seconds"] for output in outputs),
            "wall_per_second": served / elapsed,
            "server_cpu_us": (load.cpu_seconds(self.pid) - before) / served * 1e6,
            "p50_us": sorted(output["p50_us"] for output in outputs)[len(outputs) // 2],
            "p99_us": max(output["p99_us"] for output in outputs),
        }


@contextlib.contextmanager
def kdc(directory: Path) -> Iterator[Kdc]:
    """Make a realm in *directory* with one client and one service, and serve it on core 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = {"realm": REALM, "port": port, "directory": directory}
    (directory / "krb5.conf").write_text(_CLIENT_CONFIGURATION.format(**words), encoding="ascii")
    (directory / "kdc.conf").write_text(_KDC_CONFIGURATION.format(**words), encoding="ascii")
    environment = dict(os.environ) | {
        "KRB5_CONFIG": str(directory / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(directory / "kdc.conf"),
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin",
    }

    def call(*words: str) -> None:
        subprocess.run(words, check=True, env=environment, cwd=directory, stdout=subprocess.DEVNULL)

    source = Path(__file__).with_name("tgs_client.c")
    call("cc", "-O2", "-o", "tgs_client", str(source), "-lkrb5")
    call("kdb5_util", "create", "-r", REALM, "-s", "-P", "for this run only")
    for principal in (CLIENT, SERVICE):
        call("kadmin.local", "-r", REALM, "addprinc", "-randkey", principal)
    call("kadmin.local", "-r", REALM, "ktadd", "-norandkey", "-k", f"{directory}/keytab", CLIENT)
    process = subprocess.Popen(
        ["taskset", "-c", "0", "krb5kdc", "-n", "-r", REALM, "-P", str(directory / "pid")],
        env=environment,
        cwd=directory,
    )
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield Kdc(pid=process.pid, directory=directory, environment=environment)
    finally:
        process.terminate()
        process.wait()
