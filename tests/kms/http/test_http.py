"""What the HTTP side answers to requests that are not as they should be."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("kms") / "site")
    site.edit("workers = 1", "workers = 1\nrequest_s = 0.5\nidle_s = 1\nbody_bytes = 20000")
    return site


@pytest.fixture(scope="module")
def alice(site: Site) -> Subscriber:
    return site.add(ALICE)


@pytest.fixture(scope="module")
def bob(site: Site) -> Subscriber:
    return site.add(BOB)


@pytest.fixture(scope="module")
def service(site: Site, alice: Subscriber, bob: Subscriber) -> Iterator[Service]:
    with serving(site, "--metrics", "127.0.0.1:0") as service:
        yield service


def exchange(service: Service, octets: bytes) -> bytes:
    """Send octets on a connection of their own and return all that comes back until the other side closes."""
    with socket.create_connection(service.address, timeout=10) as connection:
        connection.sendall(octets)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("encoding", ["raw", "base64", "base64 in lines"])
def test_a_request_is_answered_in_its_own_encoding(
    service: Service, alice: Subscriber, bob: Subscriber, encoding: str
) -> None:
    request = alice.request(BOB)
    body = {
        "raw": request.message,
        "base64": base64.b64encode(request.message),
        "base64 in lines": base64.encodebytes(request.message).replace(b"\n", b"\r\n"),
    }[encoding]
    status, headers, answer = service.post(body)
    assert (status, headers["content-type"]) == (200, "application/mikey")
    message = answer if encoding == "raw" else base64.b64decode(answer, validate=True)
    grant = request.receive(message)
    resolve = bob.resolve(grant, alice)
    status, _, answer = service.post(resolve.message, path=TICKET_RESOLVE)
    assert status == 200
    assert resolve.receive(answer).mpk_i == grant.mpk_i


def test_the_media_type_may_have_parameters_and_capitals(service: Service, alice: Subscriber) -> None:
    status, _, _ = service.post(
        alice.request(BOB).message, headers={"Content-Type": "Application/MIKEY; version=1"}
    )
    assert status == 200


def test_other_url_parameters_are_allowed(service: Service, alice: Subscriber) -> None:
    status, _, _ = service.post(alice.request(BOB).message, path=f"{TICKET_REQUEST}&version=2")
    assert status == 200


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "reason"),
    [
        (TICKET_REQUEST, {}, b"\x01", 415, "media-type"),
        (TICKET_REQUEST, {"Content-Type": "text/plain"}, b"\x01", 415, "media-type"),
        (TICKET_REQUEST, {**MIKEY, "Content-Encoding": "gzip"}, b"\x01", 415, "content-encoding"),
        (TICKET_REQUEST, MIKEY, b"\x01" * 20001, 413, "limit-exceeded"),
        (TICKET_REQUEST, MIKEY, b"", 400, "malformed-message"),
        (TICKET_REQUEST, MIKEY, b"hello", 400, "malformed-message"),
        (TICKET_REQUEST, MIKEY, b"AQsF!", 400, "malformed-message"),
        (TICKET_REQUEST, MIKEY, b"\x01\x0b", 400, "malformed-message"),
        ("/keymanagement", MIKEY, b"\x01", 400, "request-type"),
        ("/keymanagement?requesttype=other", MIKEY, b"\x01", 400, "request-type"),
        (f"{TICKET_REQUEST}&requesttype=ticketresolve", MIKEY, b"\x01", 400, "request-type"),
        ("/keymanagement?" + "&".join("abcdefghijklmnopqrst"), MIKEY, b"\x01", 400, "request-type"),
        ("/keymanagement?%ff%fe=%00", MIKEY, b"\x01", 400, "request-type"),
    ],
)
def test_what_is_no_request_is_refused(
    service: Service, path: str, headers: dict[str, str], body: bytes, status: int, reason: str
) -> None:
    got, answer_headers, answer = service.post(body, path=path, headers=headers)
    assert (got, answer_headers["kms-reason"]) == (status, reason), answer


def test_only_post_is_understood(service: Service) -> None:
    status, _ = service.get(TICKET_REQUEST)
    assert status == 405


def test_another_path_is_not_found(service: Service, alice: Subscriber) -> None:
    status, _, _ = service.post(alice.request(BOB).message, path="/other?requesttype=ticketrequest")
    assert status == 404
    assert service.get("/metrics")[0] == 404


def test_the_request_type_must_fit_the_message(service: Service, alice: Subscriber) -> None:
    status, headers, _ = service.post(alice.request(BOB).message, path=TICKET_RESOLVE)
    assert status == 400
    assert headers["kms-reason"] in ("unsupported-data-type", "unexpected-message")


def test_one_connection_serves_many_requests(service: Service, alice: Subscriber) -> None:
    with contextlib.closing(service.connection()) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(20):
            request = alice.request(BOB)
            connection.request("POST", TICKET_REQUEST, request.message, MIKEY)
            response = connection.getresponse()
            request.receive(response.read())
            assert response.status == 200
        assert connection.sock is first


def test_pipelined_requests_are_answered_in_order(service: Service, alice: Subscriber) -> None:
    requests = [alice.request(BOB) for _ in range(5)]
    octets = b"".join(
        b"POST %s HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\n%sContent-Length: %d\r\n\r\n%s"
        % (
            TICKET_REQUEST.encode(),
            b"Connection: close\r\n" if request is requests[-1] else b"",
            len(request.message),
            request.message,
        )
        for request in requests
    )
    rest = exchange(service, octets)
    for request in requests:
        head, _, rest = rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        request.receive(rest[:length])
        rest = rest[length:]
    assert rest == b""


def test_a_client_may_wait_to_be_told_to_go_on(service: Service, alice: Subscriber) -> None:
    request = alice.request(BOB)
    with socket.create_connection(service.address, timeout=10) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % (TICKET_REQUEST.encode(), len(request.message))
        )
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(request.message)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    request.receive(answer.partition(b"\r\n\r\n")[2])


def test_a_chunked_body_is_bounded(service: Service) -> None:
    chunk = b"1000\r\n" + b"\x01" * 0x1000 + b"\r\n"
    answer = exchange(
        service,
        b"POST %s HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" % TICKET_REQUEST.encode() + chunk * 6,
    )
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n",
        b"POST",
        b"POST %s HTTP/1.1\r\nHost: kms\r\n" % TICKET_REQUEST.encode(),
        b"POST %s HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\nContent-Length: 300\r\n\r\n\x01"
        % TICKET_REQUEST.encode(),
    ],
    ids=["nothing", "empty line", "method", "half a head", "half a body"],
)
def test_a_client_that_dawdles_is_cut_off(service: Service, octets: bytes) -> None:
    started = time.monotonic()
    answer = exchange(service, octets)
    assert time.monotonic() - started < 8
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


def test_a_client_that_drips_is_cut_off(service: Service) -> None:
    with socket.create_connection(service.address, timeout=10) as connection:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for octet in b"POST %s HTTP/1.1\r\nHost: kms\r\n" % TICKET_REQUEST.encode() * 4:
                connection.sendall(bytes((octet,)))
                connection.settimeout(0.05)
                try:
                    if connection.recv(1024):
                        break
                except TimeoutError:
                    continue
        assert time.monotonic() - started < 8


def test_an_idle_connection_is_closed(service: Service) -> None:
    octets = b"GET /health/live HTTP/1.1\r\nHost: kms\r\n\r\n"
    started = time.monotonic()
    assert exchange(service, octets).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - started < 8


def test_a_huge_head_is_refused(service: Service) -> None:
    answer = exchange(service, b"POST / HTTP/1.1\r\nHost: kms\r\n" + b"X-Filler: %s\r\n" % (b"x" * 1000) * 40)
    assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("target", [b"/k\xe9", b"/keymanagement?\xe9", b"*", b"http://[/", b"/%ff%00"])
def test_a_strange_target_is_refused(service: Service, target: bytes) -> None:
    octets = b"POST %s HTTP/1.1\r\nHost: k\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % target
    assert exchange(service, octets).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    "octets", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"NONSENSE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_not_http_gets_400(service: Service, octets: bytes) -> None:
    assert exchange(service, octets).startswith(b"HTTP/1.1 400")


def test_health_is_told(service: Service) -> None:
    assert service.get("/health/live") == (200, b"alive\n")
    assert service.get("/health/ready") == (200, b"ready\n")


def test_metrics_count_what_happened(service: Service, alice: Subscriber) -> None:
    import urllib.request

    def counted() -> float:
        assert service.metrics_url is not None
        with urllib.request.urlopen(service.metrics_url, timeout=10) as response:
            lines = response.read().decode().splitlines()
        wanted = 'sipmikey_kms_requests_total{exchange="request",status="200"}'
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))

    before = counted()
    request = alice.request(BOB)
    request.receive(service.post(request.message)[2])
    assert counted() == before + 1


def test_the_log_is_json_without_secrets(service: Service, alice: Subscriber, site: Site) -> None:
    service.post(b"\x01\x0b")
    assert service.log()
    text = (site.directory / "log.jsonl").read_text()
    key = alice.psk.key.reveal()
    assert base64.b64encode(key).decode() not in text
    assert key.hex() not in text
