"""Database, replay cache and disk taken away under load: 503, no wrong answer, and recovery by itself."""

from __future__ import annotations

import collections
import contextlib
import http.client
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kms.http.serving import (
    ALICE,
    BOB,
    MIKEY,
    TICKET_REQUEST,
    TICKET_RESOLVE,
    Service,
    Site,
    Subscriber,
    serving,
)
from tests.kms.servers import PostgresCluster, RedisServer

WAIT_S = 20.0


class Load:
    """Threads that ask for tickets and verify every answer."""

    def __init__(self, service: Service, alice: Subscriber, threads: int = 2) -> None:
        self._service, self._alice = service, alice
        self._stop = threading.Event()
        self._news = threading.Condition()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.reasons: collections.Counter[str] = collections.Counter()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = self._service.connection()
        while not self._stop.is_set():
            request = self._alice.request(BOB)
            connection.request("POST", TICKET_REQUEST, request.message, MIKEY)
            response = connection.getresponse()
            answer = response.read()
            if response.status == 200:
                request.receive(answer)
            elif response.status == 503:
                assert response.getheader("Retry-After")
            with self._news:
                self.statuses[response.status] += 1
                self.reasons[response.getheader("KMS-Reason", "")] += 1
                self._news.notify_all()
        connection.close()

    def await_more(self, status: int, count: int = 20) -> None:
        """Wait for *count* more answers with *status*."""
        with self._news:
            enough = self.statuses[status] + count
            assert self._news.wait_for(lambda: self.statuses[status] >= enough, WAIT_S), self.statuses


def await_ready(service: Service, expected: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while service.get("/health/ready")[0] != expected:
        assert time.monotonic() < deadline, f"readiness never became {expected}"
        time.sleep(0.05)


@pytest.fixture
def cluster(postgres: PostgresCluster, redis_server: RedisServer, tmp_path: Path) -> Site:
    site = Site(
        tmp_path / "site", "--store", postgres.database(), "--replay", redis_server.url, "--workers", 2
    )
    site.configure("limits", address_per_second=0, subscriber_per_second=0)
    return site


@pytest.mark.interop
def test_a_database_that_stops_and_comes_back(cluster: Site, postgres: PostgresCluster) -> None:
    alice, bob = cluster.add(ALICE), cluster.add(BOB)
    with serving(cluster) as service:
        # A new replay cache takes nothing that was stamped in the second before it is asked first.
        while service.post(alice.request(BOB).message)[0] != 200:
            time.sleep(0.1)
        with Load(service, alice) as load:
            load.await_more(200)
            postgres.stop(immediately=True)
            try:
                load.await_more(503)
                await_ready(service, 503)
                assert service.get("/health/live")[0] == 200
            finally:
                postgres.start()
            load.await_more(200)
            await_ready(service, 200)
        assert set(load.statuses) == {200, 503}, load.reasons
        assert set(load.reasons) == {"", "unavailable"}
        request = alice.request(BOB)
        grant = request.receive(service.post(request.message)[2])
        assert service.post(bob.resolve(grant, alice).message, path=TICKET_RESOLVE)[0] == 200


@pytest.mark.interop
def test_a_replay_cache_that_stops_and_comes_back_empty(cluster: Site, redis_server: RedisServer) -> None:
    alice = cluster.add(ALICE)
    cluster.add(BOB)
    with serving(cluster) as service:
        before = alice.request(BOB).message
        unseen = alice.request(BOB).message
        assert service.post(before)[0] == 200
        with Load(service, alice) as load:
            load.await_more(200)
            redis_server.stop()
            try:
                load.await_more(503)
                await_ready(service, 503)
            finally:
                redis_server.start()
            load.await_more(200)
        assert set(load.statuses) <= {200, 400, 503}
        assert set(load.reasons) <= {"", "unavailable", "replayed-message"}
        # The cache has forgotten them; what is older than the loss is not trusted.
        for message in (before, unseen):
            assert service.post(message)[0] == 400


@contextlib.contextmanager
def files_limited(pids: list[int], octets: int) -> Iterator[None]:
    """Let no file of these processes grow beyond *octets*: every write that needs room fails."""
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
    for pid, (_, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        for pid, limits in zip(pids, before, strict=True):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def test_a_full_disk(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0, subscriber_per_second=0)
    alice = site.add(ALICE)
    site.add(BOB)
    with serving(site) as service:
        with Load(service, alice) as load:
            load.await_more(200)
            with files_limited([service.process.pid], 4096):
                load.await_more(503)
                await_ready(service, 503)
            load.await_more(200)
            await_ready(service, 200)
        assert set(load.statuses) == {200, 503}
        assert set(load.reasons) == {"", "unavailable"}


def test_a_stopped_process_is_not_waited_for_by_clients(tmp_path: Path) -> None:
    """A worker that hangs costs its clients their time-out, and answers again when it goes on."""
    site = Site(tmp_path / "site")
    alice = site.add(ALICE)
    site.add(BOB)
    with serving(site) as service:
        assert service.post(alice.request(BOB).message)[0] == 200
        service.process.send_signal(signal.SIGSTOP)
        connection = http.client.HTTPConnection(*service.address, timeout=0.3)
        connection.request("GET", "/health/live")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        service.process.send_signal(signal.SIGCONT)
        assert service.post(alice.request(BOB).message)[0] == 200
