"""Three KMS hosts in network namespaces behind HAProxy: one host dies, one is cut off, both come back."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kms.cluster.machines import Tally, free_port, until
from tests.kms.http.serving import ALICE, BOB, TICKET_REQUEST, TICKET_RESOLVE, Site
from tests.kms.servers import Missing, PostgresCluster, RedisServer

HOSTS = 3
pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.processes]
HAPROXY = """
global
  maxconn 200
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 3s
  option redispatch
  retries 2
  retry-on conn-failure empty-response response-timeout
  option httpchk GET /health/ready
frontend phones
  bind 127.0.0.1:{port}
  default_backend kms
backend kms
  balance roundrobin
{servers}
"""


class Region:
    """The hosts: each a namespace with an address, and a KMS in it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.tag = f"k{os.getpid() % 10000}"
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        octet = os.getpid() % 200 + 20
        self.networks = [f"10.213.{octet}.{number * 4}" for number in range(HOSTS)]

    def address(self, number: int, side: int = 2) -> str:
        base, _, last = self.networks[number].rpartition(".")
        return f"{base}.{int(last) + side}"

    def make(self) -> None:
        for number in range(HOSTS):
            name, near = f"{self.tag}n{number}", f"{self.tag}v{number}"
            _ip("netns", "add", name)
            _ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", name)
            _ip("addr", "add", f"{self.address(number, 1)}/30", "dev", near)
            _ip("link", "set", near, "up")
            for words in (
                ("addr", "add", f"{self.address(number)}/30", "dev", "far"), ("link", "set", "far", "up"),
                ("link", "set", "lo", "up"),
            ):  # fmt: skip
                _ip("-n", name, *words)

    def serve(self, number: int) -> None:
        log = (self.site.directory / f"log-{number}.jsonl").open("ab")
        self.processes[number] = subprocess.Popen(
            [
                "ip", "netns", "exec", f"{self.tag}n{number}", sys.executable, "-m", "sipmikey.cli",
                "kms", "serve",
                "--dir", str(self.site.directory), "--listen", f"{self.address(number)}:8043",
                "--plain-http", "yes, without TLS",
            ],
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        log.close()

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait(10)

    def cut(self, number: int, *, off: bool) -> None:
        """Let no packet reach a host, or let them pass again."""
        # Not by its link: without that, packets to the host would take the machine's default route.
        if off:
            _ip("route", "add", "blackhole", f"{self.address(number)}/32")
        else:
            _ip("route", "del", "blackhole", f"{self.address(number)}/32")

    def remove(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        for number in range(HOSTS):
            gone = ["ip", "route", "del", "blackhole", f"{self.address(number)}/32"]
            subprocess.run(gone, check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", f"{self.tag}n{number}"], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[tuple[Region, int]]:
    if os.geteuid() != 0 or shutil.which("haproxy") is None:
        pytest.skip("needs root for network namespaces, and haproxy")
    with contextlib.ExitStack() as stack:
        try:
            cluster = PostgresCluster()
            stack.callback(cluster.remove)
            cache = RedisServer()
            stack.callback(cache.remove)
        except Missing as missing:
            pytest.skip(str(missing))
        # Unix sockets pass the borders of network namespaces: the stores are "elsewhere" for every host.
        site = Site(tmp_path / "kms", "--store", cluster.database(), "--replay", cache.url)
        made = Region(site)
        stack.callback(made.remove)
        made.make()
        for number in range(HOSTS):
            made.serve(number)
        port = free_port()
        servers = "\n".join(
            f"  server h{number} {made.address(number)}:8043 check inter 200ms fall 2 rise 1"
            for number in range(HOSTS)
        )
        (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(port=port, servers=servers))
        proxy = subprocess.Popen(["haproxy", "-db", "-q", "-f", str(tmp_path / "haproxy.cfg")])
        stack.callback(proxy.wait, 10)
        stack.callback(proxy.kill)
        yield made, port


def _post(port: int, path: str, message: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("POST", path, message, {"Content-Type": "application/mikey"})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error


def test_a_region_of_three_hosts_loses_two(
    region: tuple[Region, int], record_property: Callable[[str, object], None]
) -> None:
    hosts, port = region
    alice, bob = hosts.site.add(ALICE), hosts.site.add(BOB)
    tallies = [Tally() for _ in range(2)]
    stop = threading.Event()

    def ask(message: bytes) -> tuple[int, bytes]:
        return _post(port, TICKET_REQUEST, message)

    def keep_asking(tally: Tally) -> None:
        while not stop.is_set():
            tally.ask(ask, alice)
            time.sleep(0.05)

    def ready(number: int) -> bool:
        connection = http.client.HTTPConnection(hosts.address(number), 8043, timeout=1)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/health/ready")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    until(lambda: all(map(ready, range(HOSTS))), "three hosts serve")
    first = Tally()
    until(lambda: first.ask(ask, alice) == 200, "HAProxy has found them")
    askers = [threading.Thread(target=keep_asking, args=(tally,)) for tally in tallies]
    for asker in askers:
        asker.start()
    try:
        _more(tallies, 10)
        hosts.kill(0)
        _more(tallies, 20)
        hosts.cut(1, off=True)
        cut_s = until(lambda: _last_granted(tallies), "the third host answers for all")
        _more(tallies, 20)
        hosts.cut(1, off=False)
        hosts.serve(0)
        until(lambda: ready(0) and ready(1), "both are back")
        _more(tallies, 10)
    finally:
        stop.set()
        for asker in askers:
            asker.join(30)
    whole = Tally(sent=sum(tally.sent for tally in tallies))
    for tally in tallies:
        whole.by_status.update(tally.by_status)
        whole.granted += tally.granted
    again = whole.again(ask)
    resolved = whole.resolved(lambda message: _post(port, TICKET_RESOLVE, message), alice, bob)
    told = f"{whole.told()}; sent again {dict(again)}; resolved {resolved}; all by one after {cut_s:.1f} s"
    record_property("counts", told)
    print(told)
    assert set(again) == {400}, "a message was taken twice"
    assert resolved == len(whole.granted), "a ticket was lost"
    # What a host had taken when it died may have been sent to another, which refuses it as seen.
    assert set(whole.by_status) <= {0, 200, 400, 502, 503, 504}
    assert whole.by_status[200] > 50


def _more(tallies: list[Tally], count: int) -> None:
    """Wait until *count* more messages were granted."""
    goal = sum(tally.by_status[200] for tally in tallies) + count
    until(lambda: sum(tally.by_status[200] for tally in tallies) >= goal, f"{count} more tickets")


def _last_granted(tallies: list[Tally]) -> bool:
    before = sum(tally.by_status[200] for tally in tallies)
    time.sleep(0.1)
    return sum(tally.by_status[200] for tally in tallies) > before
