"""Both stacks outlive every message that ends pjsip, answer what they can, and calls go on."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from sipmikey.agent.screening.arrivals import Connections
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import Process, running

NUMBERS = itertools.count()


def request(
    peer: ScriptedPeer, method: str = "INVITE", branch: str = "a", body: str = "", **fields: str
) -> str:
    own = {
        "Via": f"SIP/2.0/UDP {peer.address};branch=z9hG4bKgate{branch};rport", "Max-Forwards": "70",
        "From": "<sip:m@example.com>;tag=1", "To": "<sip:bob@example.com>", "Call-ID": "gate",
        "CSeq": f"1 {method}", "Contact": f"<sip:m@{peer.address}>",
    }  # fmt: skip
    own |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{method} sip:bob@127.0.0.1 SIP/2.0", *(f"{name}: {value}" for name, value in own.items())]
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", body))


async def alive(peer: ScriptedPeer, address: str) -> None:
    """Return when *address* answers a question put to it now."""
    name = f"alive{next(NUMBERS)}"
    peer.send(request(peer, "OPTIONS", name, Call_ID=name), address)
    while (await peer.response()).first("call-id") != name:
        pass


SILENT = [
    ("INVITE", {"From": "<sip:[]>;tag=1"}),
    ("INVITE", {"To": "<sip:[]>"}),
    ("INVITE", {"Record_Route": "<tel:1>"}),
    ("SUBSCRIBE", {"Record_Route": "<sip:[]>", "Event": "presence"}),
]
ANSWERED = [
    ("INVITE", {"Contact": "<sip:[]>"}),
    ("INVITE", {"Contact": "<sip:a@[]>"}),
    ("INVITE", {"Contact": "<tel:1>"}),
    ("REFER", {"Refer_To": "<sip:[]>"}),
    ("INVITE", {"Replaces": ";to-tag=;from-tag="}),
    ("INFO", {"Content_Type": "application/dtmf-relay", "body": "Signal="}),
]


on_both = pytest.mark.parametrize("stack", ["pjsua2", "python"])


@on_both
@pytest.mark.parametrize("transports", [("udp", "tcp"), ("tcp",)])
def test_a_callee_outlives_what_ends_pjsip(transports: tuple[str, ...], stack: str) -> None:
    async def scenario() -> None:
        peer = await ScriptedPeer.open()
        settings = {"transports": transports, "refuse": 486, "stack": stack}
        async with running("raw_peer.py", settings) as callee:
            address = (await callee.until(what="ready"))["addresses"][transports[0]]
            if transports == ("tcp",):
                await over_tcp(peer, address)
            else:
                await over_udp(peer, address)
            assert await callee.close() == 0

    asyncio.run(scenario())


def test_a_stack_on_a_second_address_of_the_machine_starts() -> None:
    """What it sends itself comes from the first address then: such is the choice of the system."""

    async def scenario() -> None:
        peer = await ScriptedPeer.open()
        async with running("raw_peer.py", {"bind": "127.0.0.2", "refuse": 486}) as callee:
            address = (await callee.until(what="ready"))["addresses"]["udp"]
            assert address.startswith("127.0.0.2:")
            await alive(peer, address)
            assert await callee.close() == 0

    asyncio.run(scenario())


async def over_udp(peer: ScriptedPeer, address: str) -> None:
    for number, (method, fields) in enumerate(SILENT):
        peer.send(request(peer, method, str(number), **fields), address)
        await alive(peer, address)
    # pjsip looks for a merged request of an ACK's that names no dialog.
    peer.send(request(peer), address)
    assert (await peer.response()).status == 486
    peer.send(request(peer, "ACK", "other"), address)
    await alive(peer, address)
    for number, (method, fields) in enumerate(ANSWERED):
        peer.send(request(peer, method, f"x{number}", Call_ID=str(number), **fields), address)
        answer = await peer.response()
        assert (answer.status, answer.first("call-id")) == (400, str(number))


async def over_tcp(peer: ScriptedPeer, address: str) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for number, (method, fields) in enumerate(SILENT):
        writer.write(request(peer, method, str(number), **fields).encode())
    for number, (method, fields) in enumerate(ANSWERED):
        text = request(peer, method, f"x{number}", Call_ID=str(number), **fields)
        writer.write(text.replace("/UDP", "/TCP").encode())
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"SIP/2.0 400 ")
    writer.close()


@on_both
@pytest.mark.parametrize(
    ("status", "field", "value"),
    [
        (200, "Contact", "<tel:1>"),
        (200, "Record-Route", "<mailto:a@example.com>"),
        (200, "Record-Route", "<sip:[]>"),
        (180, "Contact", "<sip:[]>"),
        (302, "Contact", "<sip:[]>"),
    ],
)
def test_a_caller_outlives_what_ends_pjsip(status: int, field: str, value: str, stack: str) -> None:
    async def scenario() -> None:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"stack": stack}) as caller:
            await caller.until(what="ready")
            await called(caller, peer)
            invite = await peer.request("INVITE")
            contact = value if field == "Contact" else None
            headers = ((field, value),) if contact is None else ()
            peer.respond(invite, status, to_tag="bad", contact=contact, headers=headers)
            # The answer after it is taken: the first one was as if it had been lost.
            peer.respond(invite, 200, to_tag="a", sdp=description(ports))
            await caller.until(what="phase", phase="confirmed")
            caller.do("hangup", call="out")
            await caller.until(what="phase", phase="disconnected")
            assert await caller.close() == 0

    asyncio.run(scenario())


@on_both
def test_a_call_goes_on_through_what_ends_pjsip(stack: str) -> None:
    async def scenario() -> None:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"stack": stack}) as caller:
            address = (await caller.until(what="ready"))["addresses"]["udp"]
            await called(caller, peer)
            invite = await peer.request("INVITE")
            peer.respond(invite, 200, to_tag="a", sdp=description(ports))
            await caller.until(what="phase", phase="confirmed")
            within = {
                "From": f"{invite.first('to')};tag=a",
                "To": str(invite.first("from")),
                "Call_ID": str(invite.first("call-id")),
            }
            for number, (method, fields) in enumerate(
                [
                    ("INVITE", {"Contact": "<sip:[]>"}),
                    ("UPDATE", {"Contact": "<sip:[]>"}),
                    ("INVITE", {"Record_Route": "<sip:[]>"}),
                    ("INFO", {"Content_Type": "application/dtmf-relay", "body": "Signal="}),
                    ("REFER", {"Refer_To": "<sip:[]>"}),
                ]
            ):
                peer.send(request(peer, method, f"in{number}", **within, **fields), address)
                await alive(peer, address)
            caller.do("hangup", call="out")
            await caller.until(what="phase", phase="disconnected")
            await peer.request("BYE")
            assert await caller.close() == 0

    asyncio.run(scenario())


async def called(caller: Process, peer: ScriptedPeer) -> None:
    caller.do("call", call="out", uri=f"sip:peer@{peer.address}")


def test_connections_that_say_nothing_are_closed_and_no_more_than_so_many_are_open() -> None:
    connections = Connections(most=3, silent_s=10.0)
    for number in range(3):
        connections.opened(number, float(number))
    connections.heard(1, 2.0)
    assert connections.due(9.9) == []
    assert connections.due(10.0) == [0]
    # One that was heard of stays, until there are too many: silent ones go first, the oldest of them first.
    assert connections.due(100.0) == [2]
    for number in range(10, 13):
        connections.opened(number, 100.0)
    assert connections.due(100.1) == [10]
    for number in (11, 12, 13):
        connections.opened(13, 100.2)
        connections.heard(number, 100.3)
    assert connections.due(100.4) == [1]
    assert 13 in connections
    assert len(connections) == 3


def test_idle_connections_do_not_keep_others_out() -> None:
    async def scenario() -> None:
        async with running("raw_peer.py", {"transports": ("tcp",), "refuse": 486}) as callee:
            host, _, port = (await callee.until(what="ready"))["addresses"]["tcp"].rpartition(":")
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(50)]
            peer = await ScriptedPeer.open()
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request(peer, "OPTIONS").replace("/UDP", "/TCP").encode())
            assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"SIP/2.0 200 ")
            ends = [asyncio.ensure_future(one.read()) for one, _ in idle]
            async with asyncio.timeout(10):
                while sum(end.done() for end in ends) < 10:
                    await asyncio.wait([end for end in ends if not end.done()], return_when="FIRST_COMPLETED")
            for end in ends:
                end.cancel()
            writer.close()
            assert await callee.close() == 0

    asyncio.run(scenario())
