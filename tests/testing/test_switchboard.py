"""The switchboard: it routes, forks, misbehaves on demand, and forgets nothing."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sipmikey.sip import SipMessage
from sipmikey.testing import Switchboard, faults

MIKEY = bytes(range(64))
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    f"a=key-mgmt:mikey {base64.b64encode(MIKEY).decode()}\r\n"
    "m=audio 4000 RTP/SAVP 8\r\n"
)


class Peer:
    """A bare TCP end that reads and writes SIP messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")
        connection.settimeout(10)

    def read(self) -> SipMessage:
        lines = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            lines.append(line)
        message = SipMessage.parse(b"".join(lines))
        return message.with_content(self._file.read(int(message.one("content-length"))))

    def write(self, message: SipMessage) -> None:
        self.connection.sendall(message.encode())

    def reply(self, request: SipMessage, status: str, tag: str, body: str = "") -> None:
        kept = [(n, v) for n, v in request.headers if n.lower() in ("via", "from", "call-id", "cseq")]
        more = (("To", f"{request.one('to')};tag={tag}"), ("Content-Type", "application/sdp"))
        self.write(SipMessage(start_line=f"SIP/2.0 {status}", headers=(*kept, *more), content=body.encode()))


def invite(uri: str = "sip:bob@example.com", call_id: str = "one", body: str = SDP) -> SipMessage:
    return SipMessage(
        start_line=f"INVITE {uri} SIP/2.0",
        headers=(
            ("Via", "SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1"),
            ("From", "<sip:alice@example.com>;tag=a"),
            ("To", "<sip:bob@example.com>"),
            ("Call-ID", call_id),
            ("CSeq", "1 INVITE"),
            ("Content-Type", "application/sdp"),
        ),
        content=body.encode(),
    )


@pytest.fixture
def board() -> Iterator[Switchboard]:
    board = Switchboard()
    board.start()
    yield board
    board.stop()


class Lab:
    """A caller and as many callees as are asked for."""

    def __init__(self, board: Switchboard, callees: int) -> None:
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(callees)]
        for listener in self.listeners:
            listener.settimeout(10)
            board.connect("sip:bob@example.com", *listener.getsockname())
        self.alice = Peer(socket.create_connection(("127.0.0.1", board.port)))

    def accept(self) -> list[Peer]:
        return [Peer(listener.accept()[0]) for listener in self.listeners]

    def close(self) -> None:
        self.alice.connection.close()
        for listener in self.listeners:
            listener.close()


@pytest.fixture
def one(board: Switchboard) -> Iterator[Lab]:
    lab = Lab(board, 1)
    yield lab
    lab.close()


@pytest.fixture
def two(board: Switchboard) -> Iterator[Lab]:
    lab = Lab(board, 2)
    yield lab
    lab.close()


def test_a_call_and_its_answers_pass_unchanged_and_are_remembered(board: Switchboard, one: Lab) -> None:
    one.alice.write(invite())
    (bob,) = one.accept()
    request = bob.read()
    assert request.content == SDP.encode()
    bob.reply(request, "180 Ringing", "b")
    bob.reply(request, "200 OK", "b", SDP)
    assert [one.alice.read().status, one.alice.read().status] == [180, 200]
    assert [passed.message.start_line for passed in board.passed] == [
        "INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK",
    ]  # fmt: skip


def test_nobody_there(one: Lab) -> None:
    one.alice.write(invite("sip:carol@example.com"))
    assert one.alice.read().status == 404


def test_a_fork_goes_to_all_and_the_first_answer_cancels_the_others(two: Lab) -> None:
    two.alice.write(invite())
    first, second = two.accept()
    requests = [first.read(), second.read()]
    first.reply(requests[0], "180 Ringing", "one")
    second.reply(requests[1], "183 Session Progress", "two", SDP)
    assert {two.alice.read().tag("to"), two.alice.read().tag("to")} == {"one", "two"}
    second.reply(requests[1], "200 OK", "two", SDP)
    answer = two.alice.read()
    assert (answer.status, answer.tag("to")) == (200, "two")
    assert first.read().method == "CANCEL"
    first.reply(requests[0], "487 Request Terminated", "one")
    assert first.read().method == "ACK"


def test_failures_of_a_fork_are_held_until_all_have_failed(two: Lab) -> None:
    two.alice.write(invite())
    first, second = two.accept()
    requests = [first.read(), second.read()]
    first.reply(requests[0], "603 Decline", "one")
    assert first.read().method == "ACK"
    second.reply(requests[1], "486 Busy Here", "two")
    assert second.read().method == "ACK"
    assert two.alice.read().status == 486
    two.alice.write(invite(call_id="two"))
    assert first.read().one("call-id") == "two"


def test_two_answers_on_demand(board: Switchboard, two: Lab) -> None:
    board.let_all_answer = True
    two.alice.write(invite())
    for number, peer in enumerate(two.accept()):
        peer.reply(peer.read(), "200 OK", str(number), SDP)
    assert {two.alice.read().tag("to"), two.alice.read().tag("to")} == {"0", "1"}


def through(board: Switchboard, lab: Lab, count: int = 1) -> list[str]:
    """Send INVITEs and return the session descriptions that arrive."""
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(lab.accept)
        bodies = []
        for number in range(count):
            other = base64.b64encode(MIKEY[::-1]).decode() if number else base64.b64encode(MIKEY).decode()
            body = SDP.replace(base64.b64encode(MIKEY).decode(), other)
            lab.alice.write(invite(call_id=str(number), body=body))
            bodies.append(accepting.result()[0].read().content.decode())
        return bodies


def mikey(sdp: str) -> bytes:
    return base64.b64decode(sdp.partition("a=key-mgmt:mikey ")[2].split("\r\n")[0])


def test_bad_mac_changes_the_last_octet_only(board: Switchboard, one: Lab) -> None:
    board.misbehave(faults.bad_mac)
    (sdp,) = through(board, one)
    assert mikey(sdp) == MIKEY[:-1] + bytes([MIKEY[-1] ^ 1])


def test_a_fault_may_end_after_some_messages(board: Switchboard, one: Lab) -> None:
    board.misbehave(faults.alter_octet(3), times=1)
    first, second = through(board, one, 2)
    assert mikey(first)[3] == MIKEY[3] ^ 1
    assert mikey(second) == MIKEY[::-1]


def test_replay_puts_the_first_message_into_later_ones(board: Switchboard, one: Lab) -> None:
    board.misbehave(faults.replay())
    assert [mikey(sdp) for sdp in through(board, one, 2)] == [MIKEY, MIKEY]


def test_lines_stripped_doubled_garbled_and_plain_rtp(board: Switchboard, one: Lab) -> None:
    wanted = {
        faults.strip_line: SDP.replace(SDP.split("\r\n")[4] + "\r\n", ""),
        faults.double_line: SDP.replace(SDP.split("\r\n")[4] + "\r\n", (SDP.split("\r\n")[4] + "\r\n") * 2),
        faults.garble_line: SDP.replace(SDP.split("\r\n")[4], "a=key-mgmt:mikey !not*base64!"),
        faults.plain_rtp: SDP.replace(SDP.split("\r\n")[4] + "\r\n", "").replace("SAVP", "AVP"),
    }
    message = invite()
    for fault, sdp in wanted.items():
        changed = fault(message)
        assert changed.content == sdp.encode(), fault.__name__
        assert f"Content-Length: {len(sdp)}\r\n".encode() in changed.encode()


def test_faults_of_answers_leave_requests_alone_and_can_be_forgotten(board: Switchboard, one: Lab) -> None:
    board.misbehave(faults.strip_line, on="response")
    one.alice.write(invite())
    (bob,) = one.accept()
    request = bob.read()
    assert b"key-mgmt" in request.content
    bob.reply(request, "200 OK", "b", SDP)
    assert b"key-mgmt" not in one.alice.read().content
    board.behave()
    one.alice.write(invite(call_id="two"))
    bob.reply(bob.read(), "200 OK", "b", SDP)
    assert b"key-mgmt" in one.alice.read().content
