"""What ends pjsip without the screen, and floods, against `sipmikey answer` and `sipmikey call` themselves.

    python -m benchmarks.hostile.commands messages
    python -m benchmarks.hostile.commands flood [--rate 1000] [--seconds 60]

A real KMS and real commands (loopback only). Prints one JSON object a case: whether the command and its
stack process are the ``same``, whether it answers, and what its user was ``told`` in the meantime: lines of
standard error and kinds of events. ``flood`` floods a callee that others call, and a caller whose call is
being set up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.hostile.flood import flood
from sipmikey.ports import free_port
from sipmikey.sip import SipMessage
from sipmikey.testing import TestKms
from tests.agent.calls.scripted import ScriptedPeer
from tests.agent.pjsua.test_gate import ANSWERED, SILENT, alive, request

WAIT_S = 30.0
WITHIN = [
    ("INVITE", {"Contact": "<sip:[]>"}),
    ("UPDATE", {"Contact": "<sip:[]>"}),
    ("INVITE", {"Record_Route": "<sip:[]>"}),
    ("INFO", {"Content_Type": "application/dtmf-relay", "body": "Signal="}),
    ("REFER", {"Refer_To": "<sip:[]>"}),
]
RESPONSES = [
    (200, "Contact", "<tel:1>"),
    (200, "Record-Route", "<mailto:a@example.com>"),
    (200, "Record-Route", "<sip:[]>"),
    (180, "Contact", "<sip:[]>"),
    (302, "Contact", "<sip:[]>"),
]


class Party:
    """A command of a subscriber of *kms*, whose output goes to files in *folder*."""

    started: ClassVar[list[Party]] = []

    def __init__(self, kms: TestKms, folder: Path, name: str, *words: str, host: str = "127.0.0.1") -> None:
        self.started.append(self)
        user = kms.user(f"sip:{name}@example.com")
        key = folder / f"{name}.psk"
        key.write_text(user.psk)
        key.chmod(0o600)
        self._files = [folder / f"{name}-{time.monotonic_ns()}.{kind}" for kind in ("out", "err")]
        self.log = self._files[0].with_suffix(".log")
        self.address = f"{host}:{free_port(host)}"
        self._told = [0, 0]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "sipmikey.cli", words[0], "--json", "--null-audio",
                    "--identity", user.identity, "--kms", kms.url, "--kms-identity", kms.identity,
                    "--psk-id", user.psk_id, "--psk-file", str(key), "--listen", self.address,
                    "--sip-log", str(self.log), *words[1:],
                ],
                stdout=out, stderr=err, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        lines = self._files[0].read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def until(self, kind: str, **fields: object) -> dict[str, Any]:
        """Wait for an event of type *kind* with *fields*."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for event in self.events:
                if event["type"] == kind and fields.items() <= event.items():
                    return event
            time.sleep(0.05)
        raise SystemExit(f"no {kind}: {self.events}\n{self._files[1].read_text()}")

    def told(self) -> list[str]:
        """What came since the last time: lines of standard error, then kinds of events."""
        lines = self._files[1].read_text(errors="replace").splitlines(), [*map(_kind, self.events)]
        new = [line for kind, before in zip(lines, self._told, strict=True) for line in kind[before:]]
        self._told = [len(kind) for kind in lines]
        return new

    @property
    def stacks(self) -> list[int]:
        """The processes below the command, in order."""
        found, above = [], [self.process.pid]
        while above:
            children = Path(f"/proc/{above[0]}/task/{above.pop(0)}/children").read_text().split()
            found += [int(pid) for pid in children]
            above += [int(pid) for pid in children]
        return sorted(found)

    def end(self) -> int:
        """End it, and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(WAIT_S)


def _kind(event: dict[str, Any]) -> str:
    more = [str(event[name]) for name in ("state", "reason", "status") if name in event]
    return ":".join((event["type"], *more))


@contextmanager
def parties() -> Iterator[tuple[TestKms, Path]]:
    """A KMS, and a folder for what the commands write."""
    with tempfile.TemporaryDirectory() as folder:
        kms = TestKms(Path(folder) / "kms")
        (Path(folder) / "kms").mkdir()
        kms.start()
        try:
            yield kms, Path(folder)
        finally:
            for party in Party.started:
                party.end()
            kms.stop()


def show(**fields: object) -> None:
    """Print one case."""
    print(json.dumps(fields), flush=True)


def name_of(method: str, fields: dict[str, str]) -> str:
    """Return what is wrong with a request, in short."""
    bad = next(iter(fields))
    return f"{method} {bad.replace('_', '-')}: {fields[bad]} {fields.get('body', '')}".strip()


async def against_answer(kms: TestKms, folder: Path) -> None:
    """Each request against a callee; then somebody calls it."""
    peer = await ScriptedPeer.open()
    bob = Party(kms, folder, "bob", "answer", "--auto")
    bob.until("agent.ready")
    address, stacks = bob.address, bob.stacks
    bob.told()

    async def tried(name: str, send: Callable[[], object]) -> None:
        while not peer.responses.empty():
            peer.responses.get_nowait()
        send()
        await alive(peer, address)
        answers = [
            message.status for message in peer.seen if message.first("call-id") == "gate" and message.status
        ]
        peer.seen.clear()
        show(against="answer", message=name, answers=answers, same=bob.stacks == stacks, told=bob.told())

    for number, (method, fields) in enumerate([*SILENT, *ANSWERED]):
        text = request(peer, method, f"n{number}", CSeq=f"{number + 1} {method}", **fields)
        await tried(name_of(method, fields), partial(peer.send, text, address))
    to_bob = partial(peer.send, address=address)
    ack = request(peer, "INVITE", "m", Contact=f"<sip:m@{peer.address}>"), request(peer, "ACK", "other")
    await tried("INVITE, and an ACK of another branch", lambda: [*map(to_bob, ack)])
    alice = Party(
        kms, folder, "alice", "call", "sip:bob@example.com", "--via", f"sip:{address}", "--duration", "2"
    )
    code = alice.process.wait(WAIT_S)
    state = alice.until("call.end", call="1")
    show(against="answer", message="an honest call after them", exit=code, end=state["reason"],
         media=state["security"]["media"], same=bob.stacks == stacks, answer_exit=bob.end())  # fmt: skip


async def against_call(kms: TestKms, folder: Path) -> None:
    """Each response against a caller; then 486."""
    for status, field, value in RESPONSES:
        peer = await ScriptedPeer.open()
        alice = Party(
            kms,
            folder,
            "alice",
            "call",
            "sip:bob@example.com",
            "--via",
            f"sip:{peer.address}",
            "--ring-timeout",
            "20",
        )
        invite = await peer.request("INVITE")
        stacks = alice.stacks
        alice.told()
        contact = value if field == "Contact" else None
        peer.respond(
            invite, status, to_tag="bad", contact=contact, headers=() if contact else ((field, value),)
        )
        await asyncio.sleep(0.5)
        same = alice.process.poll() is None and alice.stacks == stacks
        told = alice.told()
        peer.respond(invite, 486, to_tag="bad")
        code = await asyncio.to_thread(alice.process.wait, WAIT_S)
        end = alice.until("call.end", call="1")
        show(against="call", message=f"{status} with {field}: {value}", same=same, told=told,
             end=f"{end['reason']} by {end['side']}", exit=code)  # fmt: skip
        peer.close()


async def within_a_call(kms: TestKms, folder: Path) -> None:
    """Each request, as if of the peer, to both ends of a secured call."""
    peer = await ScriptedPeer.open()
    bob = Party(kms, folder, "bob", "answer", "--auto")
    bob.until("agent.ready")
    alice = Party(kms, folder, "alice", "call", "sip:bob@example.com", "--via", f"sip:{bob.address}")
    for one in (alice, bob):
        one.until("call.state", state="proven")
    while (answer := answered(bob.log)) is None:
        # The log is written by the block.
        await alive(peer, bob.address)
    stacks = {one: one.stacks for one in (alice, bob)}
    to_bob = {"From": answer.first("from") or "", "To": answer.first("to") or ""}
    to_alice = {"From": answer.first("to") or "", "To": answer.first("from") or ""}
    for name, one, ends in (("callee", bob, to_bob), ("caller", alice, to_alice)):
        for number, (method, fields) in enumerate(WITHIN):
            one.told()
            text = request(
                peer, method, f"w{name}{number}", Call_ID=answer.first("call-id") or "",
                CSeq=f"{number + 1000} {method}", **ends, **fields,
            )  # fmt: skip
            peer.send(text, one.address)
            await alive(peer, one.address)
            same = all(each.stacks == before for each, before in stacks.items())
            statuses = [
                m.status for m in peer.seen if m.status and m.first("call-id") == answer.first("call-id")
            ]
            peer.seen.clear()
            show(against=f"call in progress, {name}", message=name_of(method, fields), answers=statuses,
                 same=same, told=one.told())  # fmt: skip
    await asyncio.sleep(1.0)
    code = alice.end()
    end = alice.until("call.end", call="1")
    show(against="call in progress", message="the end of the call", end=end["reason"], exit=code,
         media=end["security"]["media"], streams=alice.until("stats")["streams"],
         answer_exit=bob.end())  # fmt: skip


def answered(log: Path) -> SipMessage | None:
    """Return the 200 to the INVITE that a log of SIP messages has, None while it is not there."""
    text = log.read_bytes().decode("latin-1").replace("\r\n", "\n")
    for piece in text.split("SIP/2.0 200 OK\n")[1:]:
        head, whole, _ = piece.partition("\n\n")
        message = SipMessage.parse("SIP/2.0 200 OK\r\n" + head.replace("\n", "\r\n") + "\r\n\r\n")
        if whole and (message.first("cseq") or "").endswith("INVITE"):
            return message
    return None


def counted(party: Party) -> Counter[str]:
    """Return what *party* told, by kind."""
    return Counter(line.partition(":")[0] for line in party.told())


async def flooded(kms: TestKms, folder: Path, rate: float, seconds: float) -> None:
    """Flood a callee while others call it, and a caller whose call is being set up."""
    bob = Party(kms, folder, "bob", "answer", "--auto")
    bob.until("agent.ready")
    host, _, port = bob.address.rpartition(":")
    stacks, heard = bob.stacks, Counter[str]()
    flooding = asyncio.create_task(asyncio.to_thread(flood, (host, int(port)), rate, seconds, heard))
    ends: Counter[str] = Counter()
    while not flooding.done():
        alice = Party(
            kms, folder, "alice", "call", "sip:bob@example.com", "--via", f"sip:{bob.address}",
            "--duration", "1", host="127.0.0.2",
        )  # fmt: skip
        await asyncio.to_thread(alice.process.wait, WAIT_S)
        end = alice.until("call.end", call="1")
        ends[f"{end['reason']}, media {end['security']['media']}"] += 1
    sent = await flooding
    show(against="answer", sent=sent, answers=dict(heard), same=bob.stacks == stacks, calls_of_others=ends,
         told=counted(bob), answer_exit=bob.end())  # fmt: skip
    bob = Party(kms, folder, "bob", "answer", "--auto", "--ring", str(seconds * 0.8))
    bob.until("agent.ready")
    alice = Party(
        kms, folder, "alice", "call", "sip:bob@example.com", "--via", f"sip:{bob.address}", "--duration", "5",
        "--ring-timeout", str(seconds + 30),
    )  # fmt: skip
    alice.until("call.ringing")
    host, _, port = alice.address.rpartition(":")
    stacks, heard = alice.stacks, Counter[str]()
    sent = await asyncio.to_thread(flood, (host, int(port)), rate, seconds, heard)
    alice.until("call.state", state="proven")
    same = alice.stacks == stacks if alice.process.poll() is None else None
    code = await asyncio.to_thread(alice.process.wait, WAIT_S)
    end = alice.until("call.end", call="1")
    show(against="call being set up", sent=sent, answers=dict(heard), same=same, end=end["reason"],
         media=end["security"]["media"], streams=alice.until("stats")["streams"], exit=code,
         told=counted(alice), answer_exit=bob.end())  # fmt: skip


async def run(what: str, rate: float, seconds: float) -> None:
    """Run what the command line names."""
    with parties() as (kms, folder):
        if what == "flood":
            await flooded(kms, folder, rate, seconds)
            return
        await against_answer(kms, folder)
        await against_call(kms, folder)
        await within_a_call(kms, folder)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("messages", "flood"))
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    asyncio.run(run(given.what, given.rate, given.seconds))


if __name__ == "__main__":
    main()
