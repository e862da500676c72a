"""The mailbox over HTTP: what its client does with it, and what a hostile one cannot."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipmikey.deferred.deposit import MEDIA_TYPE
from sipmikey.kms.client import ClientTls
from sipmikey.mailbox.client import MAX_ANSWER_BYTES, MailboxClient, MailboxFailure, MailboxRefused
from sipmikey.mikey.secret import Secret
from sipmikey.testing.mailbox import MailboxDirectory
from tests.deferred.parties import BOB, FRAMES, domain, left, ticket
from tests.kms.domain import Domain
from tests.kms.http.serving import Authority

MALLORY = "sip:mallory@example.com"
BOX = "/mailbox/sip%3Abob%40example.com/messages"
SETTINGS = """
message_bytes = 100_000
source_messages = 100
deposits_per_minute = 100_000
requests_per_second = 10_000
request_s = 0.5
"""
DEPOSIT = {"Content-Type": MEDIA_TYPE}
NAME = "0123456789abcdef"


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Domain]:
    made = domain(tmp_path_factory.mktemp("kms"))
    # Tickets are to be valid by the clock of the server, which is a process.
    import time

    made.clock.now = time.time_ns()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailboxDirectory]:
    made = MailboxDirectory(tmp_path_factory.mktemp("mailbox") / "box", SETTINGS)
    made.tokens = {uri: made.add_box(uri) for uri in (BOB, MALLORY)}  # type: ignore[attr-defined]
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="module")
def tokens(served: MailboxDirectory) -> dict[str, str]:
    return served.tokens  # type: ignore[attr-defined,no-any-return]


def ask(
    served: MailboxDirectory,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    source: str = "127.0.0.1",
    token: str = "",
) -> tuple[int, str, bytes]:
    """Return status, reason word and body of an answer."""
    connection = http.client.HTTPConnection(served.host, served.port, timeout=20, source_address=(source, 0))
    try:
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, {**(headers or {}), **shown})
        answer = connection.getresponse()
        return answer.status, answer.getheader("mailbox-reason", ""), answer.read()
    finally:
        connection.close()


def raw(served: MailboxDirectory, octets: bytes) -> bytes:
    """Return all that the server says to *octets*, until it closes."""
    with socket.create_connection((served.host, served.port), timeout=20) as sock:
        sock.sendall(octets)
        said = b""
        while chunk := sock.recv(65_536):
            said += chunk
    return said


def test_a_message_is_left_listed_fetched_heard_and_deleted(
    served: MailboxDirectory, tokens: dict[str, str], kms: Domain
) -> None:
    grant = ticket(kms)
    octets = left(kms, grant).encode()

    async def use() -> str:
        await MailboxClient(served.url).leave(BOB, octets)
        bobs = MailboxClient(served.url, token=Secret(tokens[BOB].encode()))
        (message,) = await bobs.messages(BOB)
        assert await bobs.fetch(BOB, message.name) == octets
        await bobs.mark_heard(BOB, message.name)
        assert [one.heard for one in await bobs.messages(BOB)] == [True]
        with pytest.raises(MailboxRefused, match="left before") as again:
            await MailboxClient(served.url).leave(BOB, octets)
        assert again.value.status == 409
        await bobs.delete(BOB, message.name)
        assert await bobs.messages(BOB) == ()
        return message.name

    name = asyncio.run(use())
    log = served.log.read_bytes()
    assert [entry["event"] for entry in served.logged() if entry.get("message") == name] == [
        "deposited", "fetched", "deleted",
    ]  # fmt: skip
    for secret in (grant.mpk_i.reveal(), tokens[BOB].encode(), FRAMES[0], octets[40:80]):
        assert secret not in log
        assert secret.hex().encode() not in log


def test_other_peoples_boxes_stay_shut(served: MailboxDirectory, tokens: dict[str, str], kms: Domain) -> None:
    _, _, body = ask(served, "POST", BOX, left(kms).encode(), DEPOSIT)
    name = body.split(b'"name": "')[1][:16].decode()
    for number, token in enumerate(
        (tokens[MALLORY], "", "x" * 5000, tokens[BOB][:-1], f"{tokens[BOB]} "[1:])
    ):
        for method, path in (("GET", BOX), ("GET", f"{BOX}/{name}"), ("DELETE", f"{BOX}/{name}")):
            answer = ask(served, method, path, token=token, source=f"127.0.1.{number + 1}")
            assert answer[:2] == (401, "not-the-owner")
    of_nobody = BOX.replace("bob", "nobody")
    assert ask(served, "GET", of_nobody, token=tokens[BOB])[:2] == (401, "not-the-owner")
    assert ask(served, "GET", f"{BOX.replace('bob', 'mallory')}/{name}", token=tokens[MALLORY])[0] == 404
    assert ask(served, "GET", f"{BOX}/{name}", token=tokens[BOB])[0] == 200


def test_who_fails_too_often_has_to_wait(served: MailboxDirectory, tokens: dict[str, str]) -> None:
    found = [ask(served, "GET", BOX, token="guess", source="127.0.2.1")[0] for _ in range(12)]
    assert found[0] == 401
    assert found[-1] == 429
    assert ask(served, "GET", BOX, token=tokens[BOB], source="127.0.2.1")[0] == 200  # who knows it does not


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/mailbox/../mailbox.sqlite", 404),
        ("/mailbox/..%2f..%2fmailbox.sqlite/messages", 400),
        ("/mailbox/%00/messages", 400),
        ("/mailbox/sip%3Abob%40example.com%0d%0ax/messages", 400),
        ("/mailbox/sip%253Abob%2540example.com/messages", 400),
        ("/mailbox/sip%3Abob%40example.com%ff/messages", 400),
        ("/mailbox/sip%3A%C2%85@example.com/messages", 401),
        (f"/mailbox/{'a' * 2000}/messages", 400),
        ("/mailbox//messages", 400),
        ("/mailbox/", 404),
        ("/mailbox", 404),
        ("/", 404),
        ("/mailboxes/sip%3Abob%40example.com/messages", 404),
        (f"{BOX}/../../../etc/passwd", 404),
        (f"{BOX}/{NAME}/..", 404),
        (f"{BOX}/{NAME}%00", 404),
        (f"{BOX}/%2e%2e", 404),
        (f"{BOX}/{NAME.upper()}", 404),
        (f"{BOX}/{NAME}/heard/more", 404),
        (f"{BOX}/' OR 1=1 --".replace(" ", "%20"), 404),
        ("/health/live", 200),
    ],
)
def test_tricks_with_paths_lead_nowhere(
    served: MailboxDirectory, tokens: dict[str, str], path: str, status: int
) -> None:
    assert ask(served, "GET", path, token=tokens[BOB], source="127.0.3.1")[0] == status


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "reason"),
    [
        ("PUT", BOX, {}, None, 405, "method"),
        ("POST", f"{BOX}/{NAME}", DEPOSIT, b"x", 405, "method"),
        ("GET", f"{BOX}/{NAME}/heard", {}, None, 405, "method"),
        ("GET", BOX, {}, b"a body", 413, "limit-exceeded"),
        ("POST", BOX, {"Content-Type": "audio/wav"}, b"RIFF", 415, "media-type"),
        ("POST", BOX, {}, b"RIFF", 415, "media-type"),
        ("POST", BOX, {**DEPOSIT, "Content-Encoding": "gzip"}, b"x", 415, "media-type"),
        ("POST", BOX, DEPOSIT, b"RIFF", 422, "malformed-deposit"),
        ("POST", BOX, DEPOSIT, b"", 422, "malformed-deposit"),
        ("POST", BOX, DEPOSIT, b"MTDD\x01\x00\x00\x01", 422, "malformed-deposit"),
        ("POST", BOX, DEPOSIT, bytes(100_001), 413, "limit-exceeded"),
        ("POST", BOX.replace("bob", "nobody"), DEPOSIT, b"x", 404, "no-such-box"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(
    served: MailboxDirectory,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
    reason: str,
) -> None:
    assert ask(served, method, path, body, headers, source="127.0.4.1")[:2] == (status, reason)


def test_a_body_that_grows_beyond_the_limit_is_cut_off(served: MailboxDirectory) -> None:
    head = (
        f"POST {BOX} HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    assert raw(served, head.encode() + 3 * chunk).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"0\r\nTrailer: x", b"1;extension=x"])
def test_what_frames_a_body_is_limited_too(served: MailboxDirectory, piece: bytes) -> None:
    head = (
        f"POST {BOX} HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    framed = piece * 50_000 if piece.endswith(b"\n") else piece + b"x" * 300_000
    assert raw(served, head.encode() + framed).startswith(b"HTTP/1.1 413 ")


def test_slow_and_broken_requests_end(served: MailboxDirectory) -> None:
    head = f"POST {BOX} HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: 90000\r\n\r\n"
    assert raw(served, head.encode() + b"MTDD").startswith(b"HTTP/1.1 408 ")
    assert raw(served, f"GET {BOX} HTTP/1.1\r\nHost".encode()).startswith(b"HTTP/1.1 408 ")
    assert raw(served, b"\x16\x03\x01no http\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    large = f"GET {BOX} HTTP/1.1\r\nX: {'x' * 20_000}".encode()
    assert raw(served, large).startswith(b"HTTP/1.1 431 ")


def test_one_source_may_not_leave_and_ask_without_end(tmp_path: Path, kms: Domain) -> None:
    limits = "deposits_per_minute = 1\nrequests_per_second = 2\nconnections = 32\n"
    served = MailboxDirectory(tmp_path / "box", limits)
    served.add_box(BOB)
    served.start()
    try:
        found = [ask(served, "POST", BOX, left(kms).encode(), DEPOSIT)[:2] for _ in range(3)]
        assert found == [(201, ""), (201, ""), (429, "address-rate")]
        assert ask(served, "POST", BOX, left(kms).encode(), DEPOSIT, source="127.0.0.9")[0] == 201
        assert (429, "address-rate") in [ask(served, "GET", BOX)[:2] for _ in range(20)]
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                place = (served.host, served.port)
                stack.enter_context(socket.create_connection(place, source_address=("127.0.0.8", 0)))
            assert ask(served, "GET", "/health/live", source="127.0.0.9")[0] == 200
            one_more = stack.enter_context(socket.create_connection(place, source_address=("127.0.0.8", 0)))
            one_more.settimeout(20)
            assert one_more.recv(100).startswith(b"HTTP/1.1 503 ")
    finally:
        assert served.stop() == 0


def test_what_is_no_mailbox_is_told(served: MailboxDirectory) -> None:
    async def use() -> None:
        with pytest.raises(MailboxFailure, match="is this a mailbox"):
            await MailboxClient(served.url.replace("/mailbox", "/other")).messages(BOB)
        with pytest.raises(MailboxFailure, match="cannot reach"):
            await MailboxClient("http://127.0.0.1:1").messages(BOB)

    asyncio.run(use())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", '"../../bob"'),
        ("name", '"0123456789abcde\\r\\nX: y"'),
        ("deposited", "NaN"),
        ("expires", "1e300"),
        ("valid_until", "-1"),
        ("duration_s", "Infinity"),
    ],
)
def test_what_a_hostile_mailbox_lists_is_refused(field: str, value: str) -> None:
    fields = {
        "name": f'"{NAME}"', "sender": f'"{BOB}"', "deposited": "1", "expires": "2", "valid_until": "0",
        "duration_s": "1", "size": "1", "heard": "false",
    }  # fmt: skip
    message = ", ".join(f'"{key}": {text}' for key, text in (fields | {field: value}).items())
    body = f'{{"messages": [{{{message}}}]}}'
    with pytest.raises(MailboxFailure, match="cannot be read"):
        asyncio.run(asked_of(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()))


def test_an_endless_head_of_an_answer_is_cut_off() -> None:
    with pytest.raises(MailboxFailure, match="longer than any deposit"):
        asyncio.run(asked_of(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_ANSWER_BYTES))


async def asked_of(answer: bytes) -> object:
    """Return what a client reads of a list of messages that a mailbox answers with *answer*."""

    async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(said, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await MailboxClient(f"http://127.0.0.1:{port}").messages(BOB)


def test_a_client_certificate_opens_the_box_of_its_name(tmp_path: Path, kms: Domain) -> None:
    authority = Authority()
    ca = authority.write(tmp_path / "ca.pem")
    for name, of in (("server", "127.0.0.1"), ("bob", BOB), ("mallory", MALLORY)):
        authority.issue(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", of)
    files = {"certificate": tmp_path / "server.pem", "private_key": tmp_path / "server.key", "client_ca": ca}
    lines = "".join(f'{name} = "{path}"\n' for name, path in files.items())
    served = MailboxDirectory(tmp_path / "box", f'[tls]\nclient_certificates = "optional"\n{lines}')
    served.add_box(BOB)
    served.start()

    octets = left(kms).encode()

    def client(name: str = "") -> MailboxClient:
        shown = (
            {}
            if not name
            else {"certificate": tmp_path / f"{name}.pem", "private_key": tmp_path / f"{name}.key"}
        )
        return MailboxClient(served.url, tls=ClientTls(ca_file=ca, **shown))

    async def use() -> None:
        await client().leave(BOB, octets)
        assert len(await client("bob").messages(BOB)) == 1
        for name in ("mallory", ""):
            with pytest.raises(MailboxRefused, match="not-the-owner"):
                await client(name).messages(BOB)
        with pytest.raises(MailboxFailure, match="is not trusted"):
            await MailboxClient(served.url, tls=ClientTls()).messages(BOB)

    try:
        assert served.url.startswith("https://")
        asyncio.run(use())
    finally:
        assert served.stop() == 0
