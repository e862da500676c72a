"""More calls than one process holds, behind one SIP port: no peer sees that there are several."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent.pjsua.handover import as_it_came, call_of, passed_on, reached_over, taken_back
from sipmikey.sip import SipMessage
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import Process, running, stacks_of
from tests.interop.lab.certificates import Authority

SECRET = "0123456789abcdef"
OWN = "192.0.2.1:5060"
INVITE = (
    b"INVITE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7:5062;branch=z9hG4bKpeer;rport,\r\n"
    b" SIP/2.0/UDP far.example.com;branch=z9hG4bKfar\r\nv: SIP/2.0/UDP farther.example.com\r\n"
    b"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\ni: call@peer\r\nCSeq: 1 INVITE\r\n"
    b"Content-Length: 4\r\n\r\nbody"
)


def test_a_via_goes_on_top_and_the_one_below_tells_the_source() -> None:
    branch, transport, octets = passed_on(INVITE, OWN, ("203.0.113.9", 40000), SECRET)
    vias = SipMessage.parse(octets.decode()).all("via")
    assert transport == "TCP"
    assert vias[0] == f"SIP/2.0/UDP {OWN};branch={branch}"
    assert vias[1].startswith(
        "SIP/2.0/TCP 198.51.100.7:5062;branch=z9hG4bKpeer;received=203.0.113.9;rport=40000,"
    )
    assert octets.endswith(b"\r\n\r\nbody")
    assert call_of(octets) == (b"call@peer", b"")


def test_the_process_behind_sees_it_as_it_came() -> None:
    _, _, octets = passed_on(INVITE, OWN, ("203.0.113.9", 40000), SECRET)
    message = SipMessage.parse(octets.decode())
    came, source = as_it_came(message, "127.0.0.1:5060", SECRET)
    assert source == "203.0.113.9:40000"
    assert came.transport == "tcp"
    assert as_it_came(message, "127.0.0.1:5060", "another secret") == (message, "127.0.0.1:5060")


def test_requests_of_one_transaction_have_one_branch() -> None:
    branch = passed_on(INVITE, OWN, ("203.0.113.9", 1), SECRET)[0]
    for method in (b"ACK", b"CANCEL"):
        assert passed_on(INVITE.replace(b"INVITE", method), OWN, ("203.0.113.9", 2), SECRET)[0] == branch
    other = INVITE.replace(b"z9hG4bKpeer", b"z9hG4bKother")
    assert passed_on(other, OWN, ("203.0.113.9", 1), SECRET)[0] != branch


def test_our_via_comes_off_responses_and_no_other_does() -> None:
    branch, _, octets = passed_on(INVITE, OWN, ("203.0.113.9", 40000), SECRET)
    response = b"SIP/2.0 200 OK\r\n" + octets.partition(b"\r\n")[2]
    found = taken_back(response, SECRET)
    assert found is not None
    assert found[0] == branch
    assert SipMessage.parse(found[1].decode()).all("via") == SipMessage.parse(octets.decode()).all("via")[1:]
    assert taken_back(found[1], SECRET) is None
    assert taken_back(response, "another secret") is None


@pytest.mark.parametrize(
    ("contact", "told"),
    [
        ("<sip:bob@192.0.2.1:5060>", "<sip:bob@192.0.2.1:5061;transport=tls>"),
        ("<sip:bob@[2001:db8::1]:5060;ob>;q=1", "<sip:bob@[2001:db8::1]:5061;transport=tls;ob>;q=1"),
        ("<sip:bob@[2001:db8::1]>", "<sip:bob@[2001:db8::1]:5061;transport=tls>"),
        ("<sip:bob@192.0.2.1:5060;transport=udp>", "<sip:bob@192.0.2.1:5060;transport=udp>"),
    ],
)
def test_a_response_over_tls_tells_the_port_for_tls(contact: str, told: str) -> None:
    text = "SIP/2.0 200 OK\r\nVia: x\r\nContact: {}\r\nContent-Length: 4\r\n\r\nbody"
    assert reached_over(text.format(contact).encode(), "tls", 5061).decode() == text.format(told)


@given(st.binary(max_size=200))
def test_any_response_is_read(octets: bytes) -> None:
    taken_back(b"SIP/2.0 200 OK\r\n" + octets, SECRET)
    call_of(octets)
    reached_over(octets, "tcp", 5060)


async def established(peer: ScriptedPeer, address: str, number: int, ports: RtpPorts) -> SipMessage:
    """Let *peer* call; return the 200."""
    peer.invite(
        address, caller="sip:m@example.com", called="sip:bob@example.com", sdp=description(ports),
        call_id=f"many{number}",
    )  # fmt: skip
    answer = await peer.response(200)
    while answer.status == 503 or answer.first("call-id") != f"many{number}":
        answer = await peer.response(200)
    peer.acknowledge(answer, address, branch=f"ack{number}")
    return answer


def bye(peer: ScriptedPeer, answer: SipMessage, number: int) -> str:
    lines = [
        f"BYE {answer.uri('contact')} SIP/2.0",
        f"Via: SIP/2.0/UDP {peer.address};branch=z9hG4bKbye{number};rport", "Max-Forwards: 70",
        f"From: {answer.first('from')}", f"To: {answer.first('to')}", f"Call-ID: {answer.first('call-id')}",
        "CSeq: 2 BYE", "Content-Length: 0",
    ]  # fmt: skip
    return "\r\n".join((*lines, "", ""))


def test_ten_calls_come_in_at_one_port() -> None:
    async def scenario() -> None:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"calls": 10, "answer_at_once": True}) as agent:
            address = (await agent.until(what="ready"))["addresses"]["udp"]
            answers = []
            for number in range(10):
                await room(agent)
                answers.append(await established(peer, address, number, ports))
                await agent.until(what="phase", phase="confirmed")
            assert {
                str(answer.uri("contact")).rpartition("@")[2].partition(";")[0] for answer in answers
            } == {address}
            assert len(stacks_of(agent)) == 3
            peer.invite(
                address, caller="sip:m@example.com", called="sip:bob@example.com", sdp=description(ports),
                call_id="eleventh",
            )  # fmt: skip
            assert (await peer.response(300)).status == 486
            # Each call is ended by its own dialog, at the one port.
            for number, answer in enumerate(answers):
                peer.send(bye(peer, answer, number), address)
                assert (await peer.response()).status == 200
                await agent.until(what="phase", phase="disconnected")
            assert await agent.close() == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("over", ["tcp", "tls"])
def test_a_call_over_a_connection_goes_to_another_process_and_its_answer_comes_back(
    over: str, tmp_path: Path
) -> None:
    Authority().issue(tmp_path, "127.0.0.1")
    settings = {"calls": 8, "answer_at_once": True, "transports": ("udp", over)}
    client = None
    if over == "tls":
        files = {"certificate_file": "certificate.pem", "private_key_file": "key.pem"}
        settings["tls"] = {name: str(tmp_path / file) for name, file in files.items()}
        client = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))

    async def scenario() -> None:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", settings) as agent:
            addresses = (await agent.until(what="ready"))["addresses"]
            for number in range(4):
                await room(agent)
                await established(peer, addresses["udp"], number, ports)
                await agent.until(what="phase", phase="confirmed")
            await room(agent)
            host, _, port = addresses[over].rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), ssl=client)
            own = "{}:{}".format(*writer.get_extra_info("sockname"))
            sdp = description(ports)

            def request(method: str, to: str, number: int, body: str = "") -> bytes:
                lines = [
                    f"{method} sip:bob@{host} SIP/2.0",
                    f"Via: SIP/2.0/{over.upper()} {own};branch=z9hG4bK{method}",
                    "Max-Forwards: 70", "From: <sip:m@example.com>;tag=1", f"To: {to}", "Call-ID: over-tcp",
                    f"CSeq: {number} {method}", f"Contact: <sip:m@{own};transport={over}>",
                    "Content-Type: application/sdp", f"Content-Length: {len(body)}",
                ]  # fmt: skip
                return "\r\n".join((*lines, "", body)).encode()

            async def answer() -> SipMessage:
                while True:
                    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
                    message = SipMessage.parse(head)
                    await reader.readexactly(int(message.first("content-length") or 0))
                    if message.status >= 200:
                        return message

            writer.write(request("INVITE", "<sip:bob@example.com>", 1, sdp))
            taken = await answer()
            assert (taken.status, taken.first("cseq")) == (200, "1 INVITE")
            assert str(taken.uri("contact")).endswith(f":{port};transport={over}")
            to = str(taken.first("to"))
            writer.write(request("ACK", to, 1))
            await agent.until(what="phase", phase="confirmed")
            writer.write(request("BYE", to, 2))
            while (ended := await answer()).first("cseq") != "2 BYE":
                pass
            assert ended.status == 200
            writer.close()
            assert await agent.close() == 0

    asyncio.run(scenario())


async def room(agent: Process) -> None:
    """Wait until there is room for a call, or the last process is full."""
    while True:
        agent.do("ready_in")
        seconds = (await agent.until(what="ready_in"))["seconds"]
        if seconds == 0.0:
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("dead", [0, 1])
def test_the_calls_of_other_processes_outlive_the_death_of_one(dead: int) -> None:
    async def scenario() -> None:
        peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
        async with running("raw_peer.py", {"calls": 8}) as agent:
            address = (await agent.until(what="ready"))["addresses"]["udp"]
            answered: list[SipMessage] = []
            for number in range(5):
                await room(agent)
                agent.do("call", call=f"out{number}", uri=f"sip:peer@{peer.address}")
                invite = await peer.request("INVITE")
                assert str(invite.uri("contact")).rpartition("@")[2].partition(";")[0] == address
                peer.respond(invite, 200, to_tag=f"a{number}", sdp=description(ports))
                await agent.until(what="phase", phase="confirmed")
                answered.append(invite)
            first, second = stacks_of(agent)
            os.kill((first, second)[dead], signal.SIGKILL)
            lost = await agent.until(what="stack-lost")
            assert lost["calls"] == (4, 1)[dead]
            for _ in range(lost["calls"]):
                await agent.until(what="phase", phase="disconnected")
            await room(agent)
            # A call of the process that lives is hung up by its peer, through the port.
            invite = answered[(4, 0)[dead]]
            tag = f"a{(4, 0)[dead]}"
            lines: dict[str, Any] = {"From": f"{invite.first('to')};tag={tag}", "To": invite.first("from")}
            text = "\r\n".join((
                f"BYE {invite.uri('contact')} SIP/2.0", f"Via: SIP/2.0/UDP {peer.address};branch=z9hG4bKlast",
                "Max-Forwards: 70", f"From: {lines['From']}", f"To: {lines['To']}",
                f"Call-ID: {invite.first('call-id')}", "CSeq: 77 BYE", "Content-Length: 0", "", "",
            ))  # fmt: skip
            ended = asyncio.ensure_future(agent.until(what="phase", phase="disconnected"))
            while not ended.done():
                # As a peer does (RFC 3261 section 17.1.2.2): the port may be being opened again.
                peer.send(text, address)
                await asyncio.wait((ended,), timeout=0.5)
            await ended

    asyncio.run(scenario())
