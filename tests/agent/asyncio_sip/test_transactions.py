"""Transactions by RFC 3261 section 17 and RFC 6026: what is repeated, when, and what is told."""

from __future__ import annotations

import pytest

from sipmikey.agent.asyncio_sip.wire.transactions import Transactions
from sipmikey.agent.asyncio_sip.writing import request, response
from sipmikey.agent.config import Transport
from sipmikey.sip import SipMessage
from tests.agent.asyncio_sip.clock import Clock, Wire


def asking(method: str, branch: str = "z9hG4bK1") -> SipMessage:
    headers = (
        ("Via", f"SIP/2.0/UDP 192.0.2.1;branch={branch}"), ("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>"),
        ("Call-ID", "x"), ("CSeq", f"7 {method}"),
    )  # fmt: skip
    return request(method, "sip:c@d", headers)


class Client:
    """A client transaction, and what was told of it."""

    def __init__(self, method: str, transport: Transport = Transport.UDP) -> None:
        self.clock, self.wire = Clock(), Wire(transport)
        self.told: list[int] = []
        self.table = Transactions(self.clock.later)
        self.request = asking(method)
        self.table.send(
            self.request, self.wire, on_response=lambda message: self.told.append(message.status),
            on_failed=lambda status, _: self.told.append(-status),
        )  # fmt: skip

    def hear(self, *statuses: int) -> None:
        for status in statuses:
            self.table.receive_response(response(self.request, status, tag="2"))


def test_an_invite_is_repeated_with_doubling_pauses_and_given_up_after_32_s() -> None:
    client = Client("INVITE")
    client.clock.pass_time(31.9)
    assert len(client.wire.sent) == 7
    client.clock.pass_time(0.2)
    assert client.told == [-408]
    assert len(client.table) == 0


def test_another_request_is_repeated_every_four_seconds_at_most() -> None:
    client = Client("OPTIONS")
    client.clock.pass_time(33)
    assert len(client.wire.sent) == 11
    assert client.told == [-408]


def test_nothing_is_repeated_over_tcp() -> None:
    client = Client("INVITE", Transport.TCP)
    client.clock.pass_time(33)
    assert len(client.wire.sent) == 1
    assert client.told == [-408]


def test_a_ringing_invite_waits_as_long_as_it_takes() -> None:
    client = Client("INVITE")
    client.hear(100, 180)
    client.clock.pass_time(600)
    assert client.wire.methods == ["INVITE"]
    assert client.told == [100, 180]


def test_each_failure_is_acknowledged_and_told_once() -> None:
    client = Client("INVITE")
    client.hear(180, 486, 486)
    assert client.wire.methods == ["INVITE", "ACK", "ACK"]
    assert client.wire.sent[1].top_via == client.wire.sent[0].top_via
    assert client.told == [180, 486]
    client.clock.pass_time(33)
    assert len(client.table) == 0
    assert not client.clock.waits


def test_each_2xx_of_an_invite_is_told_again() -> None:
    client = Client("INVITE")
    client.hear(200, 200, 180)
    assert client.told == [200, 200]
    assert client.wire.methods == ["INVITE"]


class Server:
    """A server transaction and its peer."""

    def __init__(self, method: str, transport: Transport = Transport.UDP) -> None:
        self.clock, self.wire = Clock(), Wire(transport)
        self.table = Transactions(self.clock.later)
        self.request = asking(method)
        transaction = self.table.receive_request(self.request, self.wire)
        assert transaction is not None
        self.transaction = transaction

    def again(self, method: str = "") -> bool:
        """The peer sends it again; return whether that makes a transaction."""
        message = asking(method) if method else self.request
        return self.table.receive_request(message, self.wire) is not None

    def answer(self, status: int) -> None:
        self.transaction.respond(response(self.request, status, tag="2"))


def test_an_invite_without_an_answer_gets_100_after_a_while() -> None:
    server = Server("INVITE")
    server.clock.pass_time(0.1)
    assert server.wire.methods == []
    server.clock.pass_time(0.2)
    assert server.wire.methods == ["100INVITE"]


def test_a_repeated_request_gets_the_last_response_again() -> None:
    server = Server("INVITE")
    server.answer(180)
    assert not server.again()
    assert server.wire.methods == ["180INVITE", "180INVITE"]


def test_a_failure_is_repeated_until_its_ack() -> None:
    server = Server("INVITE")
    server.answer(486)
    server.clock.pass_time(1.6)
    assert server.wire.methods == ["486INVITE"] * 3
    assert not server.again("ACK")
    server.clock.pass_time(60)
    assert server.wire.methods == ["486INVITE"] * 3
    assert len(server.table) == 0


def test_a_2xx_is_left_to_its_user_and_absorbs_the_invite() -> None:
    server = Server("INVITE")
    server.answer(200)
    assert not server.again()
    assert server.again("ACK")
    assert server.wire.methods == ["200INVITE"]


def test_nothing_follows_a_final_response() -> None:
    server = Server("OPTIONS")
    server.answer(200)
    server.answer(500)
    assert not server.again()
    assert server.wire.methods == ["200OPTIONS", "200OPTIONS"]


@pytest.mark.parametrize(("branch", "method"), [("z9hG4bK2", "INVITE"), ("z9hG4bK1", "OPTIONS")])
def test_another_branch_or_method_is_another_transaction(branch: str, method: str) -> None:
    server = Server("INVITE")
    assert server.table.receive_request(asking(method, branch), server.wire) is not None
