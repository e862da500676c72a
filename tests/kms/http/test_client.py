"""`HttpKmsClient` against real servers, and against one that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sipmikey.kms.client import (
    BlockingKmsClient,
    ClientTls,
    HttpKmsClient,
    KmsBadAnswer,
    KmsBusy,
    KmsRefused,
    KmsTimeout,
    KmsUnreachable,
)
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket import TicketRequest
from tests.kms.http.serving import ALICE, BOB, KMS, Authority, Service, Site, Subscriber, serving

REQUEST = b"\x01\x0b" + bytes(20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("client") / "site")


@pytest.fixture(scope="module")
def alice(site: Site) -> Subscriber:
    site.add(BOB)
    return site.add(ALICE)


@pytest.fixture(scope="module")
def service(site: Site, alice: Subscriber) -> Iterator[Service]:
    with serving(site) as service:
        yield service


async def asked(client: HttpKmsClient, request: TicketRequest, kms: str | None = None) -> None:
    request.receive(await client.request(request.message, kms=kms))


@pytest.mark.parametrize("encoding", ["raw", "base64"])
def test_a_ticket_is_fetched(service: Service, alice: Subscriber, encoding: str) -> None:
    async def body() -> None:
        async with HttpKmsClient(service.url, encoding=encoding) as client:
            await asked(client, alice.request(BOB))
            await asyncio.gather(*(asked(client, alice.request(BOB)) for _ in range(8)))

    asyncio.run(body())


def test_a_kms_is_found_by_its_identity(service: Service, alice: Subscriber) -> None:
    async def body() -> None:
        others = {KMS: service.url}
        async with HttpKmsClient("http://127.0.0.1:1", by_identity=others) as client:
            await asked(client, alice.request(BOB), kms=KMS)
            with pytest.raises(KmsUnreachable):
                await asked(client, alice.request(BOB))
        async with HttpKmsClient(by_identity=others) as client:
            with pytest.raises(LocalError, match="no URL is known"):
                await asked(client, alice.request(BOB), kms="sip:kms@example.net")

    asyncio.run(body())


def test_a_refusal_says_why(service: Service, alice: Subscriber) -> None:
    async def body() -> KmsRefused:
        async with HttpKmsClient(service.url) as client:
            message = alice.request(BOB).message
            await client.request(message)
            with pytest.raises(KmsRefused) as caught:
                await client.request(message)
            return caught.value

    refusal = asyncio.run(body())
    assert (refusal.reason, refusal.kms_reason) == ("kms-refused", "replayed-message")
    assert refusal.sip_status == 403
    assert refusal.error_message is not None


def test_the_client_may_be_used_again_after_closing(service: Service, alice: Subscriber) -> None:
    async def body() -> None:
        client = HttpKmsClient(service.url)
        await asked(client, alice.request(BOB))
        await client.close()
        await asked(client, alice.request(BOB))
        await client.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("names", "trusted", "accepted"),
    [(("127.0.0.1",), True, True), (("192.0.2.1",), True, False), (("127.0.0.1",), False, False)],
    ids=["right", "another name", "another authority"],
)
def test_the_servers_certificate_is_verified(
    tmp_path: Path, names: tuple[str, ...], trusted: bool, accepted: bool
) -> None:
    authority = Authority()
    authority.issue(tmp_path / "kms.pem", tmp_path / "kms.key", *names)
    ca = (authority if trusted else Authority("Other")).write(tmp_path / "ca.pem")
    site = Site(tmp_path / "site", "--tls-cert", tmp_path / "kms.pem", "--tls-key", tmp_path / "kms.key")
    alice = site.add(ALICE)
    site.add(BOB)

    async def body(url: str) -> None:
        async with HttpKmsClient(url, tls=ClientTls(ca_file=ca)) as client:
            if accepted:
                await asked(client, alice.request(BOB))
            else:
                with pytest.raises(KmsUnreachable, match="not trusted"):
                    await asked(client, alice.request(BOB))

    with serving(site) as service:
        asyncio.run(body(service.url))


@contextlib.asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncIterator[str]:
    """Answer requests in order; None closes the connection. After the last answer there is silence."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                if not left:
                    await reader.read()
                    break
                answer = left.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


MIKEY = "application/mikey"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http("200 OK", b"hello", Content_Type="text/html"), KmsBadAnswer),
        (http("200 OK", b"!!!", Content_Type=MIKEY), KmsBadAnswer),
        (http("200 OK", b"\x01" * 300_000, Content_Type=MIKEY), KmsBadAnswer),
        (http("302 Found", Location="http://127.0.0.1:1/"), KmsBadAnswer),
        (http("403 Forbidden", b"no", Content_Type="text/plain"), KmsRefused),
        (http("429 Too Many Requests", Retry_After="7"), KmsBusy),
        (http("503 Service Unavailable", Retry_After="soon"), KmsBusy),
        (b"SSH-2.0-OpenSSH_9.2\r\n", KmsBadAnswer),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", KmsBadAnswer),
    ],
)
def test_other_answers_are_typed_errors(answer: bytes, error: type[Exception]) -> None:
    async def body() -> None:
        async with answering(answer) as url, HttpKmsClient(url) as client:
            with pytest.raises(error):
                await client.request(REQUEST)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http("200 OK", b"hello", Content_Type="text/html"), KmsBadAnswer),
        (http("200 OK", b"\x01" * 300_000, Content_Type=MIKEY), KmsBadAnswer),
        (http("403 Forbidden", b"no", Content_Type="text/plain"), KmsRefused),
        (http("503 Service Unavailable", Retry_After="soon"), KmsBusy),
        (b"SSH-2.0-OpenSSH_9.2\r\n", KmsBadAnswer),
    ],
)
def test_the_blocking_client_has_the_same_errors(answer: bytes, error: type[Exception]) -> None:
    async def body() -> None:
        async with answering(answer) as url:
            with BlockingKmsClient(url) as client, pytest.raises(error):
                await asyncio.to_thread(client.request, REQUEST)

    asyncio.run(body())


def test_the_blocking_client_fetches_tickets(service: Service, alice: Subscriber) -> None:
    with BlockingKmsClient(service.url) as client:
        for _ in range(3):
            request = alice.request(BOB)
            request.receive(client.request(request.message))
        repeated = alice.request(BOB).message
        client.request(repeated)
        with pytest.raises(KmsRefused) as caught:
            client.request(repeated)
    assert caught.value.kms_reason == "replayed-message"


def test_the_blocking_client_outlives_a_kept_connection() -> None:
    good = http("200 OK", b"\x01answer", Content_Type=MIKEY)

    async def body() -> None:
        async with answering(good, None, good) as url:
            with BlockingKmsClient(url) as client:
                for _ in range(2):
                    assert await asyncio.to_thread(client.request, REQUEST) == b"\x01answer"

    asyncio.run(body())


def test_a_header_cannot_break_the_message() -> None:
    client = BlockingKmsClient("http://127.0.0.1:1")
    with pytest.raises(LocalError, match="header"):
        client.request(REQUEST, headers={"X-Word": "a\r\nContent-Length: 0"})


def test_an_answer_may_end_with_the_connection() -> None:
    async def body() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/mikey\r\n\r\n\x01answer")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, HttpKmsClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
            assert await client.request(REQUEST) == b"\x01answer"

    asyncio.run(body())


def test_busy_tells_how_long_to_wait() -> None:
    async def body() -> float | None:
        async with answering(http("503 Busy", Retry_After="7")) as url, HttpKmsClient(url) as client:
            with pytest.raises(KmsBusy) as caught:
                await client.request(REQUEST)
            return caught.value.retry_after_s

    assert asyncio.run(body()) == 7.0


def test_a_message_that_the_kms_may_have_taken_is_not_sent_again() -> None:
    good = http("200 OK", b"\x01answer", Content_Type=MIKEY)

    async def body() -> None:
        async with answering(None, good) as url, HttpKmsClient(url) as client:
            with pytest.raises(KmsUnreachable) as caught:
                await client.request(REQUEST)
            assert caught.value.ask_again
            assert await client.request(REQUEST) == b"\x01answer"

    asyncio.run(body())


def test_silence_ends_in_a_time_out() -> None:
    async def body() -> None:
        async with answering() as url, HttpKmsClient(url, timeout_s=0.2) as client:
            with pytest.raises(KmsTimeout, match=r"within 0.2 s"):
                await client.request(REQUEST)

    asyncio.run(body())


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        async def body() -> None:
            async with HttpKmsClient(f"http://127.0.0.1:{port}") as client:
                with pytest.raises(KmsUnreachable) as caught:
                    await client.request(REQUEST)
                assert caught.value.sip_status == 503

        asyncio.run(body())


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://kms.example.com", "https"),
        ("http://192.0.2.1:8043", "https"),
        ("ftp://127.0.0.1", "not a KMS URL"),
        ("https://", "not a KMS URL"),
        ("https://127.0.0.1/?x=1", "no query"),
        ("https://me:secret@127.0.0.1/", "no query"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, told: str) -> None:
    with pytest.raises(LocalError, match=told):
        HttpKmsClient(url)
    if url.startswith("http://"):
        HttpKmsClient(url, allow_plain_http=True)


def test_only_what_is_meant_for_a_kms_is_sent() -> None:
    async def body(call: Callable[[], Awaitable[bytes]]) -> None:
        with pytest.raises(LocalError, match="REQUEST_INIT"):
            await call()

    client = HttpKmsClient("http://127.0.0.1:1")
    for message in (b"", b"\x01", b"\x01\x0e" + bytes(20)):
        asyncio.run(body(lambda message=message: client.request(message)))  # type: ignore[misc]
