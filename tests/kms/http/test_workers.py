"""Several workers: deaths, shutdown, shared counters and a shared replay cache."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS
from sipmikey.kms.client import HttpKmsClient, KmsFailure
from tests.kms.http.serving import ALICE, BOB, MIKEY, TICKET_REQUEST, Service, Site, Subscriber, serving


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0, subscriber_per_second=0)
    site.add(BOB)
    return site


@pytest.fixture
def alice(site: Site) -> Subscriber:
    return site.add(ALICE)


def test_a_replay_to_any_worker_is_refused(site: Site, alice: Subscriber) -> None:
    with serving(site, "--workers", 2) as service:
        message = alice.request(BOB).message
        answers = [service.post(message) for _ in range(20)]  # a connection each, so that both are met
    assert [status for status, _, _ in answers].count(200) == 1
    assert {headers.get("kms-reason") for _, headers, _ in answers} == {None, "replayed-message"}


def requests_counted(metrics_url: str) -> float:
    with urllib.request.urlopen(metrics_url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith("sipmikey_kms_requests_total{")
    )


def test_metrics_add_up_the_workers(site: Site, alice: Subscriber) -> None:
    with serving(site, "--workers", 2, "--metrics", "127.0.0.1:0") as service:
        for _ in range(20):
            assert service.post(alice.request(BOB).message)[0] == 200
        assert service.metrics_url is not None
        # A worker counts after it has answered: ask until the last answer is counted.
        deadline = time.monotonic() + 10
        while (counted := requests_counted(service.metrics_url)) < 20 and time.monotonic() < deadline:
            pass
    assert counted == 20


def keep_asking(service: Service, alice: Subscriber, stop: threading.Event, found: list[str]) -> None:
    """Ask for tickets until told to stop and verify each; what fails is asked again with a new message."""
    connection = service.connection()
    while not stop.is_set():
        request = alice.request(BOB)
        try:
            connection.request("POST", TICKET_REQUEST, request.message, MIKEY)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            found.append("broken")
            connection.close()
            continue
        if response.status == 200:
            request.receive(answer)
        found.append(str(response.status))
    connection.close()


def test_no_worker_enrols_devices_in_clear_beyond_this_machine(site: Site) -> None:
    options = ("--listen", "0.0.0.0:0", "--plain-http", PLAIN_HTTP_WORDS)
    with serving(site, "--workers", 2, *options) as service:
        service.await_log("enrolment-off", count=2)
        assert service.get("/enrolment")[0] == 404


def test_a_killed_worker_costs_no_wrong_answer(site: Site, alice: Subscriber) -> None:
    stop = threading.Event()
    found: list[list[str]] = [[] for _ in range(4)]
    with serving(site, "--workers", 2) as service:
        threads = [threading.Thread(target=keep_asking, args=(service, alice, stop, mine)) for mine in found]
        for thread in threads:
            thread.start()
        for death in range(1, 4):
            victim = service.children()[0]
            os.kill(victim, signal.SIGKILL)
            service.await_log("worker-died", count=death)
            service.await_log("worker-started", count=2 + death)
        stop.set()
        for thread in threads:
            thread.join()
        everything = [result for mine in found for result in mine]
        assert set(everything) <= {"200", "broken"}
        assert everything.count("200") > 50
        assert all(mine[-1] == "200" for mine in found)
        assert service.post(alice.request(BOB).message)[0] == 200


def runs(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_do_not_outlive_their_supervisor(site: Site) -> None:
    with serving(site, "--workers", 2) as service:
        assert service.get("/health/live")[0] == 200
        workers = service.children()
        service.process.kill()
        service.process.wait()
        deadline = time.monotonic() + 10
        while any(map(runs, workers)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.address, timeout=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_shutdown_finishes_the_request_in_flight(site: Site, alice: Subscriber, workers: int) -> None:
    request = alice.request(BOB)
    with serving(site, "--workers", workers) as service:
        with socket.create_connection(service.address, timeout=10) as connection:
            connection.sendall(
                b"POST %s HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\n"
                b"Content-Length: %d\r\n\r\n%s"
                % (TICKET_REQUEST.encode(), len(request.message), request.message[:100])
            )
            # The head has been read once a later connection has been served.
            assert service.get("/health/live")[0] == 200
            time.sleep(0.3)
            service.process.send_signal(signal.SIGTERM)
            _refuses_connections(service)
            connection.sendall(request.message[100:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in head.lower()
        request.receive(body)
        assert service.stop() == 0


def _refuses_connections(service: Service) -> None:
    """Wait until no process listens."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(service.address, timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError("the service goes on accepting connections after SIGTERM")


def test_a_configuration_that_cannot_work_ends_the_service(site: Site) -> None:
    (site.directory / "policy.toml").write_text("[[rule]]\nname = 'x'\n")
    with pytest.raises(RuntimeError, match="did not start"), serving(site, "--workers", 2):
        pass


@pytest.mark.parametrize("limited", ["address", "subscriber"])
def test_too_many_requests_get_429(tmp_path: Path, limited: str) -> None:
    site = Site(tmp_path / "site")
    limits = {"address_per_second": 0, "subscriber_per_second": 0}
    limits |= {f"{limited}_per_second": 0.01, f"{limited}_burst": 3}  # type: ignore[dict-item]
    site.configure("limits", **limits)
    alice, bob = site.add(ALICE), site.add(BOB)
    with serving(site) as service:
        answers = [service.post(alice.request(BOB).message) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1][1]["retry-after"]) <= 200
        other = service.post(bob.request(ALICE).message)[0]
        assert other == (429 if limited == "address" else 200)


def test_forged_messages_do_not_use_up_a_subscribers_rate(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0, subscriber_per_second=0.01, subscriber_burst=2)
    alice = site.add(ALICE)
    site.add(BOB)
    with serving(site) as service:
        for _ in range(10):
            forged = bytearray(alice.request(BOB).message)
            forged[-1] ^= 1
            assert service.post(bytes(forged))[0] == 403
        assert service.post(alice.request(BOB).message)[0] == 200


def test_overload_is_answered_503_with_retry_after(site: Site, alice: Subscriber) -> None:
    site.edit("workers = 1", "workers = 1\npending = 4\nrequest_s = 60.0")
    with serving(site) as service, contextlib.ExitStack() as stack:
        # Requests whose body does not arrive take up every place.
        for _ in range(5):
            waiting = stack.enter_context(socket.create_connection(service.address, timeout=10))
            waiting.sendall(
                b"POST %s HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\n"
                b"Content-Length: 300\r\n\r\n" % TICKET_REQUEST.encode()
            )
        deadline = time.monotonic() + 10
        while True:
            status, headers, _ = service.post(alice.request(BOB).message)
            if status == 503 or time.monotonic() > deadline:
                break
        assert (status, headers["kms-reason"]) == (503, "overload")
        assert int(headers["retry-after"]) >= 1


def test_connections_beyond_the_limit_are_turned_away(site: Site) -> None:
    site.edit("workers = 1", "workers = 1\nconnections = 3\nidle_s = 60")
    with serving(site) as service, contextlib.ExitStack() as stack:
        for _ in range(3):
            held = stack.enter_context(socket.create_connection(service.address, timeout=10))
            held.sendall(b"GET /health/live HTTP/1.1\r\nHost: kms\r\n\r\n")
            assert held.recv(100).startswith(b"HTTP/1.1 200")
        assert service.get("/health/live")[0] == 503


def test_the_client_survives_a_dead_worker(site: Site, alice: Subscriber) -> None:
    async def body(service: Service) -> None:
        async with HttpKmsClient(service.url) as client:
            request = alice.request(BOB)
            request.receive(await client.request(request.message))
            for victim in service.children():
                os.kill(victim, signal.SIGKILL)
            service.await_log("worker-started", count=4)
            again = alice.request(BOB)
            try:
                again.receive(await client.request(again.message))
            except KmsFailure:
                third = alice.request(BOB)
                third.receive(await client.request(third.message))

    with serving(site, "--workers", 2) as service:
        asyncio.run(body(service))
