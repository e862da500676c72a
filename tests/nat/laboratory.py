"""Two agents behind NATs of their own: network namespaces, nftables, Kamailio, coturn and a KMS outside.

The outside is one namespace with a bridge; behind it two routers, and behind each a host. How a router
translates is chosen for each call.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from sipmikey.testing.process import Process
from tests.interop.lab.kms import Kms

OUTSIDE = "10.77.0.1"
HOSTS = {"a": "192.168.11.2", "b": "192.168.12.2"}
ROUTERS = {"a": ("10.77.0.2", "192.168.11.1"), "b": ("10.77.0.3", "192.168.12.1")}
SECRET = "a secret for the laboratory"


class Translation(StrEnum):
    """``OPEN``: no translation. ``PORT_PRESERVING``: the same outer port for all peers. ``SYMMETRIC``:
    another one for each. ``UDP_BLOCKED``: no UDP gets through at all."""

    OPEN = "open"
    PORT_PRESERVING = "port-preserving"
    SYMMETRIC = "symmetric"
    UDP_BLOCKED = "udp-blocked"


def _run(*words: str, text: str | None = None) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, input=text)


class Laboratory:
    """The networks; a context manager. Names carry the process's number, so that several may exist."""

    def __init__(self) -> None:
        self._prefix = f"sm{os.getpid() % 100000}"
        self._names = ("out", "ra", "rb", "a", "b")

    def name(self, part: str) -> str:
        """Return the name of a namespace: ``out``, the routers ``ra``, ``rb``, the hosts ``a``, ``b``."""
        return f"{self._prefix}{part}"

    def inside(self, part: str, *words: str | Path) -> list[str]:
        """Return the command that runs *words* in a namespace."""
        return ["ip", "netns", "exec", self.name(part), *map(str, words)]

    def __enter__(self) -> Self:
        for part in self._names:
            _run("ip", "netns", "add", self.name(part))
            _run("ip", "-n", self.name(part), "link", "set", "lo", "up")
        self._bridge()
        for side in HOSTS:
            self._side(side)
        return self

    def _bridge(self) -> None:
        out = self.name("out")
        _run("ip", "-n", out, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", out, "addr", "add", f"{OUTSIDE}/24", "dev", "br0")
        _run("ip", "-n", out, "link", "set", "br0", "up")

    def _side(self, side: str) -> None:
        out, router, host = self.name("out"), self.name(f"r{side}"), self.name(side)
        outer, inner = ROUTERS[side]
        port = f"p{side}"
        _run("ip", "link", "add", port, "netns", out, "type", "veth", "peer", "name", "e0", "netns", router)
        _run("ip", "-n", out, "link", "set", port, "master", "br0", "up")
        _run("ip", "-n", router, "addr", "add", f"{outer}/24", "dev", "e0")
        _run("ip", "-n", router, "link", "set", "e0", "up")
        _run("ip", "link", "add", "e1", "netns", router, "type", "veth", "peer", "name", "e0", "netns", host)
        _run("ip", "-n", router, "addr", "add", f"{inner}/24", "dev", "e1")
        _run("ip", "-n", router, "link", "set", "e1", "up")
        _run("ip", "-n", host, "addr", "add", f"{HOSTS[side]}/24", "dev", "e0")
        _run("ip", "-n", host, "link", "set", "e0", "up")
        _run("ip", "-n", host, "route", "add", "default", "via", inner)
        _run(*self.inside(f"r{side}", "sysctl", "-qw", "net.ipv4.ip_forward=1"))
        for other, (gateway, _) in ROUTERS.items():
            network = HOSTS[other].rpartition(".")[0] + ".0/24"
            if other != side:
                _run("ip", "-n", router, "route", "add", network, "via", gateway)
        _run("ip", "-n", out, "route", "add", HOSTS[side].rpartition(".")[0] + ".0/24", "via", outer)

    def translate(self, side: str, how: Translation) -> None:
        """Have the router of *side* translate like this, with no memory of what was before."""
        rules = "flush ruleset\n"
        if how is not Translation.OPEN:
            masquerade = "masquerade fully-random" if how is Translation.SYMMETRIC else "masquerade"
            block = 'iifname "e1" meta l4proto udp drop;' if how is Translation.UDP_BLOCKED else ""
            rules += f"""
            table ip n {{
              chain post {{ type nat hook postrouting priority 100; oifname "e0" {masquerade}; }}
              chain forward {{ type filter hook forward priority 0; policy drop; {block}
                iifname "e1" accept; ct state established,related accept; }}
              chain input {{ type filter hook input priority 0; policy accept;
                iifname "e0" meta l4proto udp ct state new drop; }}
            }}
            """
        _run(*self.inside(f"r{side}", "nft", "-f", "-"), text=rules)

    def move(self, side: str, address: str) -> None:
        """Have the host of *side* lose its address and get another, as after a change of Wi-Fi."""
        host = self.name(side)
        _run("ip", "-n", host, "addr", "flush", "dev", "e0")
        _run("ip", "-n", host, "addr", "add", f"{address}/24", "dev", "e0")
        _run("ip", "-n", host, "route", "add", "default", "via", ROUTERS[side][1])

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for part in self._names:
            subprocess.run(["ip", "netns", "del", self.name(part)], check=False, capture_output=True)


def turn_server(laboratory: Laboratory, directory: Path, *, port: int = 3478, more: str = "") -> Process:
    """Start coturn outside, for credentials with a time limit. *more*: further lines of its configuration."""
    directory.mkdir(exist_ok=True)
    file = directory / "turn.conf"
    relays = 49152 + 250 * (port - 3478)
    file.write_text(
        f"listening-ip={OUTSIDE}\nrelay-ip={OUTSIDE}\nlistening-port={port}\n"
        f"min-port={relays}\nmax-port={relays + 249}\n{more}"
        f"realm=example.test\nuse-auth-secret\nstatic-auth-secret={SECRET}\nno-tls\nno-dtls\nno-cli\n"
        f"log-file=stdout\nsimple-log\npidfile={directory}/turn.pid\nuserdb={directory}/turn.db\n"
    )
    server = Process(laboratory.inside("out", "turnserver", "-c", file), name="coturn")
    server.wait_for("IO method", timeout=30)
    return server


def registrar(laboratory: Laboratory, directory: Path) -> Process:
    """Start Kamailio outside."""
    directory.mkdir()
    file = directory / "kamailio.cfg"
    text = Path(__file__).with_name("kamailio.cfg").read_text()
    file.write_text(text.replace("ADDRESS", OUTSIDE))
    proxy = Process(
        laboratory.inside(
            "out", "kamailio", "-f", file, "-DD", "-E", "-m", "64", "-M", "16", "-Y", directory
        ),
        name="kamailio",
    )
    proxy.wait_for("tcp_main", timeout=30)
    return proxy


class OutsideKms(Kms):
    """The KMS, outside, on plain HTTP: the laboratory has no network but its own."""

    def __init__(self, laboratory: Laboratory, directory: Path) -> None:
        super().__init__(directory, host=OUTSIDE)
        self._laboratory = laboratory
        file = directory / "kms.toml"
        file.write_text(file.read_text().replace("[http]\n", '[http]\nplain_http = "yes, without TLS"\n', 1))

    def start(self, port: int = 0) -> None:
        """Serve outside."""
        with entered(self._laboratory.name("out")):
            super().start(port)


@contextlib.contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Have this thread, and the processes it starts, in a named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    wanted = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        _check(libc.setns(wanted, 0))
        yield
    finally:
        _check(libc.setns(before, 0))
        os.close(before)
        os.close(wanted)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
