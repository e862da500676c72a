"""A flood of INVITEs against an agent with a call in progress: what lives, and what the flood hears.

    python -m benchmarks.hostile.flood [--rate 1000] [--seconds 60] [--stack python]

Starts an agent and a peer here (loopback only), sets up a call, sends INVITEs that claim to be protected from
one socket, and prints one JSON object: answers by status, packets of the call before and after, and whether
the same stack process is there; with the stack in Python, the exceptions it logged. The flood may be slower
than asked for: ``sent`` counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from collections import Counter
from typing import Any

from sipmikey.testing.stacks import STACKS
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import running, stacks_of

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/SAVP 8\r\na=key-mgmt:mikey AAAA\r\n"
)


def flood(address: tuple[str, int], rate: float, seconds: float, heard: Counter[str]) -> int:
    """Send INVITEs; count what is answered in *heard*; return how many were sent."""
    sent, begin = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        own = sock.getsockname()[1]
        while (now := time.monotonic() - begin) < seconds:
            while sent < now * rate:
                sock.sendto(_invite(own, sent), address)
                sent += 1
            _drain(sock, heard)
            time.sleep(0.002)
        time.sleep(1.0)
        _drain(sock, heard)
    return sent


def _invite(own: int, number: int) -> bytes:
    return (
        f"INVITE sip:bob@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKf{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:m@example.com>;tag={number}\r\nTo: <sip:bob@example.com>\r\n"
        f"Call-ID: flood{number}\r\nCSeq: 1 INVITE\r\nContact: <sip:m@127.0.0.1:{own}>\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
    ).encode()


def _drain(sock: socket.socket, heard: Counter[str]) -> None:
    while True:
        try:
            heard[sock.recv(4096)[8:11].decode()] += 1
        except BlockingIOError:
            return


async def run(rate: float, seconds: float, stack: str) -> dict[str, Any]:
    """Return what came of it."""
    peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
    async with running("raw_peer.py", {"key_at_once": True, "refuse": 488, "stack": stack}) as agent:
        address = (await agent.until(what="ready"))["addresses"]["udp"]
        agent.do("call", call="out", uri=f"sip:peer@{peer.address}")
        invite = await peer.request("INVITE")
        peer.respond(invite, 200, to_tag="a", sdp=description(ports))
        await agent.until(what="phase", phase="confirmed")
        await ports.until_rtp(50)
        stacks, heard = stacks_of(agent), Counter[str]()
        before, begin = len(ports.rtp), time.monotonic()
        sent = await asyncio.to_thread(
            flood, ("127.0.0.1", int(address.rpartition(":")[2])), rate, seconds, heard
        )
        packets, took = len(ports.rtp) - before, time.monotonic() - begin
        agent.do("hangup", call="out")
        await agent.until(what="phase", phase="disconnected")
        return {
            "sent": sent, "per_second": round(sent / seconds), "answers": dict(heard),
            "packets_of_the_call": packets, "expected_packets": round(took * 50),
            "stack": stack, "same_stack_process": stacks_of(agent) == stacks, "hung_up_by_us": True,
            "stray_exceptions": [event["detail"] for event in agent.seen if event["what"] == "stray"],
        }  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stack", choices=STACKS, default="pjsua2")
    arguments = parser.parse_args()
    print(json.dumps(asyncio.run(run(arguments.rate, arguments.seconds, arguments.stack))))


if __name__ == "__main__":
    main()
