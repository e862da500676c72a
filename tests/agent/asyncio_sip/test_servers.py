"""Which servers of a domain a request goes to, and what happens when one is down (RFC 3263 section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sipmikey.agent.asyncio_sip.binding import Binding
from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means, Silent
from sipmikey.agent.asyncio_sip.wire.servers import endpoints
from sipmikey.agent.asyncio_sip.wire.target import Endpoint, Target
from sipmikey.agent.asyncio_sip.wire.transactions import Transactions
from sipmikey.agent.asyncio_sip.writing import response
from sipmikey.agent.config import Sip, Transport
from sipmikey.agent.network.names import Names
from sipmikey.sip import SipMessage
from tests.agent.asyncio_sip.clock import Clock, Wire
from tests.name_server import NameServer

RECORDS = {
    ("_sip._udp.prov.test", "SRV"): ["20 10 5071 spare.prov.test.", "10 10 5070 first.prov.test."],
    ("first.prov.test", "A"): ["192.0.2.10"],
    ("spare.prov.test", "A"): ["192.0.2.20"],
    ("plain.test", "A"): ["192.0.2.30"],
}


@pytest.mark.parametrize(
    ("host", "open_port", "found"),
    [
        ("prov.test", True, [("192.0.2.10", 5070), ("192.0.2.20", 5071)]),
        ("plain.test", True, [("192.0.2.30", 5060)]),
        ("first.prov.test", False, [("192.0.2.10", 5060)]),
        ("192.0.2.99", True, [("192.0.2.99", 5060)]),
    ],
    ids=["SRV records by priority", "no SRV records", "a port is named", "an address"],
)
def test_addresses_come_in_the_order_to_try_them(host: str, open_port: bool, found: list[Endpoint]) -> None:
    async def look() -> list[Endpoint]:
        names = Names(Sip(name_servers=("127.0.0.1",)), port=server.port)
        target = Target(transport=Transport.UDP, host=host, port=5060, open_port=open_port)
        loop = asyncio.get_running_loop()
        return [one async for one in endpoints(target, names, ipv6=False, loop=loop)]

    with NameServer(RECORDS) as server:
        assert asyncio.run(look()) == found


class Heard(Silent):
    """What the sender of a request is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def on_response(self, message: SipMessage) -> None:
        self.told.append(message.status)

    def on_failed(self, status: int, reason: str) -> None:
        self.told.append(status)


class Farm:
    """*servers* of one name, as the flows of a stack; each request goes to the first that was not tried."""

    def __init__(self, *servers: Endpoint) -> None:
        self.clock = Clock()
        self.wires = {server: Wire() for server in servers}
        for server, wire in self.wires.items():
            wire.remote = server
        self.transactions = Transactions(self.clock.later)
        self.heard = Heard()
        flows: Any = self
        means = Means(
            sip=Sip(), flows=flows, transactions=self.transactions, user="a", binding=Binding(Sip())
        )
        numbers = iter(range(1, 10))
        self.exchange = Exchange(
            means,
            Draft(
                method="OPTIONS", uri="sip:prov.test", hop="sip:prov.test", sender="<sip:a@h>;tag=1",
                receiver="<sip:prov.test>", call_id="c", number=lambda: next(numbers),
            ),
            self.heard,
        )  # fmt: skip
        self.exchange.begin()

    def reach(self, target: Target, then: Callable[[Any, str], None], *, tried: frozenset[Endpoint]) -> None:
        left = [wire for server, wire in self.wires.items() if server not in tried]
        then(left[0] if left else None, "")

    def answer(self, server: Endpoint, status: int) -> None:
        self.transactions.receive_response(response(self.wires[server].sent[-1], status))


FIRST, SPARE = ("192.0.2.10", 5070), ("192.0.2.20", 5071)


def test_another_server_is_asked_where_one_says_503() -> None:
    farm = Farm(FIRST, SPARE)
    farm.answer(FIRST, 503)
    assert farm.wires[SPARE].methods == ["OPTIONS"]
    branches = {wire.sent[0].first("via") for wire in farm.wires.values()}
    assert len(branches) == 2, "it is a new transaction"
    farm.answer(SPARE, 200)
    assert farm.heard.told == [200]


def test_another_server_is_asked_where_one_is_silent() -> None:
    farm = Farm(FIRST, SPARE)
    farm.clock.pass_time(33.0)
    farm.answer(SPARE, 404)
    assert farm.heard.told == [404]


@pytest.mark.parametrize("servers", [(FIRST,), (FIRST, SPARE)], ids=["the only one", "the last one"])
def test_the_refusal_of_the_last_server_is_told(servers: tuple[Endpoint, ...]) -> None:
    farm = Farm(*servers)
    for server in servers:
        farm.answer(server, 503)
    assert farm.heard.told == [503]
    assert [len(wire.sent) for wire in farm.wires.values()] == [1] * len(servers)
