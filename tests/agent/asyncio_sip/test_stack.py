"""The stack on real sockets: what it answers to anybody, and that nothing ends it."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from sipmikey.agent.asyncio_sip.stack import AsyncioStack
from sipmikey.agent.config import AgentConfig, Audio, Sip, Transport
from sipmikey.agent.stack import Lane, Placement
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import SipMessage
from tests.fuzz.torture import ODD, WRONG
from tests.networks import needs_ipv6

WAIT_S = 10.0
TORTURE = (*ODD.values(), *WRONG.values())


class Watcher:
    """The agent's side: turns every call down, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.calls: list[Any] = []

    def on_invite(self, invite: SipMessage, source: str) -> Placement:
        return Placement(lane=Lane.REFUSED)

    def on_incoming(self, call: Any, invite: SipMessage, source: str, lane: Lane) -> Any:
        self.calls.append(call)
        call.answer(488)
        return None

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *facts: self.told.append((name, *facts))


class Running:
    """A stack, polled in a thread of its own."""

    def __init__(self, **sip: Any) -> None:
        self.watcher = Watcher()
        self._over = threading.Event()
        self._opened: Future[AsyncioStack] = Future()
        self._config = AgentConfig(
            identity="sip:bob@example.com",
            sip=Sip(**{"bind": "127.0.0.1", "stack": "python", **sip}),
            audio=Audio(),
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.stack = self._opened.result(WAIT_S)

    def _run(self) -> None:
        stack = AsyncioStack(self._config, self.watcher, lambda delay_s, work: None)
        self._opened.set_result(stack)
        while not self._over.is_set():
            stack.poll(20)
        stack.destroy()

    def address(self, transport: Transport) -> tuple[str, int]:
        host, _, port = self.stack.addresses[transport].rpartition(":")
        return host.strip("[]"), int(port)

    def close(self) -> None:
        self._over.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    one = Running(calls_per_second=1000.0)
    yield one
    one.close()


@pytest.fixture
def peer(running: Running) -> Iterator[Peer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(running.address(Transport.UDP))
        sock.settimeout(WAIT_S)
        yield Peer(sock)


class Peer:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.port = sock.getsockname()[1]

    def send(self, method: str, *fields: str, to: str = "<sip:bob@example.com>", number: int = 1) -> None:
        self.sock.send(self.text(method, *fields, to=to, number=number))

    def text(self, method: str, *fields: str, to: str = "<sip:bob@example.com>", number: int = 1) -> bytes:
        lines = (
            f"{method} sip:bob@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch=z9hG4bK{random.getrandbits(64):x}",
            "From: <sip:alice@example.com>;tag=1", f"To: {to}", f"Call-ID: {random.getrandbits(64):x}",
            f"CSeq: {number} {method}", f"Contact: <sip:alice@127.0.0.1:{self.port}>", *fields,
            "Content-Length: 0", "", "",
        )  # fmt: skip
        return "\r\n".join(lines).encode()

    def final(self) -> SipMessage:
        while True:
            message = SipMessage.parse(self.sock.recv(65535))
            if message.status >= 200:
                return message


@pytest.mark.parametrize(
    ("method", "fields", "to", "status"),
    [
        ("OPTIONS", (), "<sip:bob@example.com>", 200),
        ("MESSAGE", (), "<sip:bob@example.com>", 200),
        ("SUBSCRIBE", ("Event: presence",), "<sip:bob@example.com>", 405),
        ("PUBLISH", (), "<sip:bob@example.com>", 405),
        ("NOTIFY", ("Event: presence",), "<sip:bob@example.com>", 481),
        ("NOTIFY", ("Event: presence",), "<sip:bob@example.com>;tag=none", 481),
        ("NOTIFY", ("Event: dialog",), "<sip:bob@example.com>", 489),
        ("NOTIFY", ("Event: message-summary",), "<sip:bob@example.com>", 200),
        ("BYE", (), "<sip:bob@example.com>", 481),
        ("BYE", (), "<sip:bob@example.com>;tag=none", 481),
        ("INVITE", (), "<sip:bob@example.com>;tag=none", 481),
        ("CANCEL", (), "<sip:bob@example.com>", 481),
        ("REFER", ("Refer-To: <sip:carol@example.com>",), "<sip:bob@example.com>", 403),
        ("INVITE", ("Require: unheard-of",), "<sip:bob@example.com>", 420),
        ("INVITE", ("Require: precondition",), "<sip:bob@example.com>", 420),
        ("INVITE", ("Replaces: x;to-tag=1;from-tag=2",), "<sip:bob@example.com>", 481),
        ("INVITE", (), "<sip:bob@example.com>", 488),
    ],
)
def test_what_anybody_gets(peer: Peer, method: str, fields: tuple[str, ...], to: str, status: int) -> None:
    peer.send(method, *fields, to=to)
    answer = peer.final()
    assert answer.status == status
    assert answer.to_tag
    if status == 405:
        assert "INVITE" in (answer.first("allow") or "")
    if status == 489:
        assert "presence" in (answer.first("allow-events") or "")
    if method == "INVITE":
        via = answer.top_via
        assert via is not None
        assert via.parameter("rport") == str(peer.port)


def alive(peer: Peer) -> None:
    """The stack still answers."""
    text = peer.text("OPTIONS", to="<sip:sign-of-life@example.com>")
    peer.sock.send(text)
    while "sign-of-life" not in (peer.final().first("to") or ""):
        pass


def test_no_message_ends_it(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """Those of RFC 4475 and RFC 5118, and changed ones."""
    rng = random.Random(20)
    fit = peer.text("INVITE", "Supported: 100rel", "Subject: x")
    for octets in TORTURE:
        peer.sock.send(octets)
    alive(peer)
    for turn in range(3000):
        changed = bytearray(rng.choice((fit, *TORTURE)))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(3):
                case 0:
                    changed[at] = rng.getrandbits(8)
                case 1:
                    del changed[at : at + rng.randrange(1, 20)]
                case _:
                    changed[at:at] = rng.choice((b"\r\n", b"\0", b";", b'"', b"<", b",", b" " * 50))
            if not changed:
                changed = bytearray(b"x")
        peer.sock.send(bytes(changed)[:60_000])
        if turn % 100 == 99:
            alive(peer)
    alive(peer)
    assert "could not be handled" not in caplog.text
    assert "a timer failed" not in caplog.text


def test_the_octets_after_a_body_are_dropped(peer: Peer) -> None:
    peer.sock.send(peer.text("OPTIONS") + b"INVITE sip:x SIP/2.0\r\n\r\n")
    assert peer.final().status == 200


def test_tcp_is_answered_on_its_connection_and_garbage_ends_that_alone(running: Running, peer: Peer) -> None:
    address = running.address(Transport.TCP)
    assert address == running.address(Transport.UDP)
    with socket.create_connection(address, WAIT_S) as good, socket.create_connection(address, WAIT_S) as bad:
        bad.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert bad.recv(100) == b""
        text = peer.text("OPTIONS").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
        good.sendall(text[:50])
        time.sleep(0)
        good.sendall(text[50:] + text.replace(b"z9hG4bK", b"z9hG4bKx"))
        heard = b""
        while heard.count(b"SIP/2.0 200") < 2:
            heard += good.recv(65535)


@needs_ipv6
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["UDP", "TCP"])
def test_ipv6(kind: int) -> None:
    one = Running(bind="::1")
    try:
        with socket.socket(socket.AF_INET6, kind) as sock:
            sock.settimeout(WAIT_S)
            sock.connect(one.address(Transport.UDP))
            Peer(sock).send("OPTIONS")
            answer = SipMessage.parse(sock.recv(65535))
            assert answer.status == 200
            assert answer.top_via is not None
            assert answer.top_via.parameter("received") == "::1"
    finally:
        one.close()


def test_a_flood_is_told_to_come_back() -> None:
    one = Running(calls_per_second=5.0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.connect(one.address(Transport.UDP))
            sock.settimeout(WAIT_S)
            peer = Peer(sock)
            for _ in range(200):
                peer.send("INVITE")
            later = peer.final()
            while later.status != 503:
                later = peer.final()
            assert later.first("retry-after") == "1"
            assert 1 <= len(one.watcher.calls) < 50
    finally:
        one.close()


def test_a_codec_that_is_not_here_is_refused_with_the_name_of_its_setting() -> None:
    config = AgentConfig(identity="sip:b@example.com", sip=Sip(bind="127.0.0.1", stack="python"))
    object.__setattr__(config, "audio", Audio(codecs=("GSM",)))
    with pytest.raises(LocalError, match=r"media\.codecs"):
        AsyncioStack(config, Watcher(), lambda delay_s, work: None)


def test_an_unknown_stack_is_refused() -> None:
    with pytest.raises(LocalError, match=r"sip\.stack"):
        Sip(stack="other")
