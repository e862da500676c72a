"""A million damaged SIP messages against an agent with a call in progress.

    python -m benchmarks.hostile.million [--count 1000000] [--seed 1] [--stack python]
    python -m benchmarks.hostile.million --in-process

Messages of RFC 4475 and RFC 5118, those that end pjsip without the screen, and whole INVITEs, each with a few
octets, lines, numbers or parts changed, come over UDP in batches; after each the agent answers a question, so
that none is lost in a full socket. Prints a JSON object every 100 000 messages: what was answered, deaths of
stack processes, exceptions that the stack logged, and the packets of the call. ``--in-process`` gives them to
the stack in Python without sockets, processes or a call in progress, which takes a tenth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.hostile.flood import SDP
from sipmikey.testing.stacks import STACKS
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.pjsua.test_gate import ANSWERED, SILENT, request
from tests.agent.processes import Process, running, stacks_of
from tests.fuzz.seeds import seeds
from tests.fuzz.torture import ODD, WRONG

BATCH = 50
TOLD_EVERY = 100_000
ANSWER_S = 30.0
NUMBERS = (b"0", b"-1", b"4294967295", b"4294967296", b"99999999999999999999", b"00000000000000000001", b"")


def whole(peer: ScriptedPeer) -> list[bytes]:
    """Return the messages that are changed."""
    texts = [request(peer, method, **fields) for method, fields in SILENT + ANSWERED]
    texts += [request(peer, method) for method in ("OPTIONS", "ACK", "BYE", "CANCEL", "PRACK", "NOTIFY")]
    texts += [request(peer, body=SDP, Content_Type="application/sdp")]
    return [*ODD.values(), *WRONG.values(), *seeds("sip"), *(text.encode() for text in texts)]


def _octet(message: bytearray, chance: random.Random) -> None:
    message[chance.randrange(len(message))] = chance.choice((0, 10, 13, 32, 34, 60, 62, 59, 255, 128))


def _cut(message: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(message))
    del message[start : start + chance.randrange(1, 40)]


def _again(message: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(message))
    part = message[start : start + chance.randrange(1, 200)]
    message[start:start] = part * chance.choice((1, 1, 2, 30))


def _line(message: bytearray, chance: random.Random) -> None:
    lines = bytes(message).split(b"\r\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one] = lines[other] if chance.random() < 0.5 else b""
    message[:] = b"\r\n".join(lines)


def _value(message: bytearray, chance: random.Random) -> None:
    lines = message.split(b"\r\n")
    one, other = (lines[chance.randrange(len(lines))].partition(b":") for _ in range(2))
    message[:] = bytes(message).replace(one[0] + one[1] + one[2], one[0] + one[1] + other[2], 1)


def _number(message: bytearray, chance: random.Random) -> None:
    places = [place for place, octet in enumerate(message) if 48 <= octet <= 57]
    if places:
        place = chance.choice(places)
        message[place : place + 1] = chance.choice(NUMBERS)


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _octet, _octet, _cut, _again, _line, _value, _number
)  # fmt: skip


def changed(message: bytes, chance: random.Random) -> bytes:
    """Return *message* with one to four changes, of a call of its own half of the time."""
    text = bytearray(message)
    if chance.random() < 0.5:
        text = bytearray(message.replace(b"gate", b"g%d" % chance.getrandbits(32)))
    for _ in range(chance.randrange(1, 5)):
        if text:
            chance.choice(CHANGES)(text, chance)
    return bytes(text[:60_000])


def batch_sent(
    sock: socket.socket, address: tuple[str, int], messages: list[bytes], name: str, heard: Counter[str]
) -> None:
    """Send *messages* and a question; return when that is answered."""
    for message in messages:
        sock.sendto(message, address)
    own = sock.getsockname()[1]
    question = (
        "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{name};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:m@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n"
        f"Call-ID: {name}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    deadline, asked = time.monotonic() + ANSWER_S, 0.0
    while time.monotonic() < deadline:
        if time.monotonic() - asked > 0.5:
            sock.sendto(question, address)
            asked = time.monotonic()
        try:
            answer = sock.recv(65535)
        except TimeoutError:
            continue
        if f"Call-ID: {name}\r\n".encode() in answer:
            return
        heard[answer[8:11].decode("ascii", "replace")] += 1
    raise SystemExit(f"the agent does not answer after {name}")


async def run(count: int, seed: int, stack: str) -> None:
    """Send, and print what came of it."""
    chance, heard = random.Random(seed), Counter[str]()
    peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
    async with running("raw_peer.py", {"key_at_once": True, "refuse": 488, "stack": stack}) as agent:
        port = int((await agent.until(what="ready"))["addresses"]["udp"].rpartition(":")[2])
        agent.do("call", call="out", uri=f"sip:peer@{peer.address}")
        invite = await peer.request("INVITE")
        peer.respond(invite, 200, to_tag="a", sdp=description(ports))
        await agent.until(what="phase", phase="confirmed")
        stacks, messages, begin = stacks_of(agent), whole(peer), time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0.05)
            for sent in range(0, count, BATCH):
                batch = [changed(chance.choice(messages), chance) for _ in range(BATCH)]
                await asyncio.to_thread(
                    batch_sent, sock, ("127.0.0.1", port), batch, f"alive{seed}-{sent}", heard
                )
                if (sent + BATCH) % TOLD_EVERY == 0 or sent + BATCH >= count:
                    tell(agent, port, sent + BATCH, begin, heard, ports, same=stacks_of(agent) == stacks)
        agent.do("hangup", call="out")
        await agent.until(what="phase", phase="disconnected")
        await peer.request("BYE")


def run_here(count: int, seed: int) -> None:
    """Give the messages to the stack in Python, here, and print what came of it."""
    from tests.fuzz.signalling import take

    chance, begin = random.Random(seed), time.monotonic()
    peer: Any = SimpleNamespace(address="127.0.0.1:5060")
    messages = whole(peer)
    stray = 0
    for given in range(0, count, BATCH):
        try:
            take([changed(chance.choice(messages), chance) for _ in range(BATCH)])
        except Exception as error:
            stray += 1
            print(json.dumps({"stray": repr(error)}), flush=True)
        if (given + BATCH) % TOLD_EVERY == 0 or given + BATCH >= count:
            took = round(time.monotonic() - begin)
            print(json.dumps({"messages": given + BATCH, "seconds": took, "stray": stray}), flush=True)


def tell(
    agent: Process, port: int, sent: int, begin: float, heard: Counter[str], ports: RtpPorts, *, same: bool
) -> None:
    heard["deaths"] += sum(event["what"] == "stack-lost" for event in agent.seen)
    heard["stray"] += sum(event["what"] == "stray" for event in agent.seen)
    for event in agent.seen:
        if event["what"] == "stray":
            print(json.dumps(event), flush=True)
    took = time.monotonic() - begin
    print(
        json.dumps({
            "messages": sent, "seconds": round(took), "answers": dict(heard),
            "dropped_by_kernel": drops(port),
            "same_stack_process": same, "packets_of_the_call": len(ports.rtp),
            "expected_packets": round(took * 50),
        }),
        flush=True,
    )  # fmt: skip
    # What raw_peer prints of each message is not needed, and much.
    agent.seen.clear()
    agent._next = 0


def drops(port: int) -> int:
    """Return how many datagrams the kernel dropped because the socket of UDP *port* was full."""
    rows = [row.split() for row in Path("/proc/self/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1].endswith(f":{port:04X}"))


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stack", choices=STACKS, default="pjsua2")
    parser.add_argument("--in-process", action="store_true")
    given = parser.parse_args()
    if given.in_process:
        run_here(given.count, given.seed)
        return
    asyncio.run(run(given.count, given.seed, given.stack))


if __name__ == "__main__":
    main()
