"""What the calls of one test run on: agents, switchboard, capture; and what is kept of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sipmikey.capture import CaptureError, LoopbackCapture
from sipmikey.ports import free_port
from sipmikey.testing.agents import AgentPool, AgentSettings, TestAgent, TestGroup
from sipmikey.testing.agents.situation import situation
from sipmikey.testing.external import Own, OwnKms
from sipmikey.testing.kms import TestKms
from sipmikey.testing.mailbox import TestMailbox
from sipmikey.testing.switchboard import PassedMessage, Switchboard
from sipmikey.ticket.mode import Mode

MIKEY_LINE = re.compile(rb"(?m)^(a=key-mgmt:mikey )(\S{16})\S*")

MULTICAST = "239.255.60.43"


class Stage:
    """The agents of one test. ``folder`` is the test's own directory.

    *pool*: agents and a switchboard that outlive the test. *own*: what is not the kit's.
    *mailbox*: for messages.
    """

    def __init__(
        self,
        folder: Path,
        kms: TestKms | OwnKms,
        *,
        capture: bool,
        pool: AgentPool | None = None,
        own: Own | None = None,
        mailbox: TestMailbox | None = None,
    ) -> None:
        self.folder = folder
        self.kms = kms
        self.own = own or Own()
        self._pool = pool
        self._mailbox = mailbox
        self._groups: list[TestGroup] = []
        self.switchboard = Switchboard() if pool is None else pool.switchboard
        self.agents: list[TestAgent] = []
        self.capture = LoopbackCapture(()) if capture else None

    def start(self) -> None:
        """Open the switchboard and begin to capture, where that is allowed."""
        if self._pool is None:
            self.switchboard.start()
        else:
            self.switchboard.reset()
        if self.capture is not None:
            try:
                self.capture.start()
            except CaptureError:
                self.capture = None
        self.watch(self.switchboard.uri, self.kms.url)

    def watch(self, *uris: str) -> None:
        """Capture packets from and to the ports in these URIs."""
        ports = [int(found[1]) for uri in uris if (found := re.search(r":(\d+)\b", uri.rpartition("@")[2]))]
        if self.capture is not None:
            self.capture.watch(*ports)

    def agent(self, name: str, **settings: Any) -> TestAgent:
        """Return a new agent of `sip:NAME@example.com`, or the domain of one's own, with these settings.

        *settings* are fields of `AgentSettings`. Raises `TypeError` for one that does not exist, `ValueError`
        for a word that it may not be.

        A second agent of the same name is another device of the same user: calls fork to both.
        """
        identity = f"sip:{name}@{self.own.domain}"
        user = self.kms.user(identity)
        number = sum(agent.identity == identity for agent in self.agents)
        folder = self.folder / (name if not number else f"{name}-{number + 1}")
        folder.mkdir()
        chosen = AgentSettings(
            identity=identity, kms=self.kms.identity, kms_url=self.kms.url, psk=user.psk, psk_id=user.psk_id,
            bind=self.own.bind, registrar=self.own.proxy,
            proxy=self.own.proxy or (None if self.own.direct else self.switchboard.uri),
            digest=self.own.digest.get(identity),
        )  # fmt: skip
        chosen.change(**settings)
        agent = TestAgent(
            chosen,
            folder,
            self.switchboard if self.own.proxy is None else None,
            self.watch,
            pool=self._pool,
            mailbox=self._mailbox,
            others=self.situation,
        )
        self.agents.append(agent)
        return agent

    def group(self, name: str, *members: TestAgent | str) -> TestGroup:
        """Return the group `sip:NAME@example.com`, or of one's own domain, with these members at the KMS.

        A name is for one group in a test; at its end the members are put out.
        """
        group = TestGroup(
            identity=f"sip:{name}@{self.own.domain}",
            media=f"{MULTICAST}:{free_port(self.own.bind)}",
            kms=self.kms,
        )
        self._groups.append(group)
        group.add(*members)
        return group

    def set_mode(self, mode: str, *, caller: TestAgent, callee: TestAgent) -> None:
        """Have *caller* call *callee* in a mode of RFC 6043, with the keys it takes. Before they are used.

        *mode*: `full`, `kerberos`, `otway-rees` or `preshared` (docs/modes.md), else `ValueError`.
        """
        match Mode(mode):
            case Mode.KERBEROS:
                self.kms.let_open(callee.identity)
                callee.set_mode("full", self.kms.ticket_key(callee.identity))
                caller.set_mode(mode)
            case Mode.OTWAY_REES:
                caller.set_mode(mode, self.kms.ticket_key(caller.identity))
            case Mode.PRESHARED:
                key = os.urandom(32).hex()
                caller.set_mode(mode, {"owner": callee.identity, "key": key})
                callee.set_mode(mode, {"owner": caller.identity, "key": key})
            case Mode.FULL:
                caller.set_mode(mode)

    def situation(self) -> str:
        """Return the state of the calls of the agents, in one line."""
        return situation((agent.folder.name, agent.events) for agent in self.agents)

    def stop(self) -> list[str]:
        """Stop everything; return how agents crashed that did."""
        for agent in self.agents:
            agent.stop()
        for group in self._groups:
            group.empty()
        if self._pool is None:
            self.switchboard.stop()
        if self.capture is not None:
            self.capture.stop()
        return [report for agent in self.agents if (report := agent.crash_report()) is not None]

    def keep(self, folder: Path) -> None:
        """Copy what there is of the test to *folder*; what was there before is removed."""
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(self.folder, folder)
        (folder / "ladder.txt").write_text(self.ladder())
        with (folder / "events.jsonl").open("w") as file:
            for agent, event in self._events():
                file.write(json.dumps({"agent": agent} | event) + "\n")
        (folder / "sip.txt").write_bytes(b"\n".join(_shown(passed) for passed in self.switchboard.passed))
        if self.capture is not None:
            self.capture.save(folder / "capture.pcap")

    def _events(self) -> list[tuple[str, dict[str, Any]]]:
        events = [(agent.folder.name, event) for agent in self.agents for event in agent.events]
        return sorted(events, key=lambda pair: float(pair[1]["at"]))

    def ladder(self) -> str:
        """Return events of the agents and messages through the switchboard in the order they happened."""
        lines = [
            (passed.at, f"{'switchboard':<12} {_arrow(passed)} {passed.message.start_line}")
            for passed in self.switchboard.passed
        ]
        for name, event in self._events():
            told = {key: value for key, value in event.items() if key not in ("v", "type", "at") and value}
            text = ", ".join(f"{key}={value}" for key, value in told.items())
            lines.append((float(event["at"]), f"{name:<12}    {event['type']}: {text}"[:240]))
        return "\n".join(
            f"{datetime.fromtimestamp(at, UTC).strftime('%H:%M:%S.%f')[:-3]} {line}"
            for at, line in sorted(lines, key=lambda pair: pair[0])
        )


def _arrow(passed: PassedMessage) -> str:
    way = "->" if passed.kind == "request" else "<-"
    return f"{way} :{passed.to[1]}"


def _shown(passed: PassedMessage) -> bytes:
    """Return a message as text; of a MIKEY message only its beginning."""
    head = f"--- {passed.kind} {_arrow(passed)} at {passed.at:.3f}\n".encode()
    return head + MIKEY_LINE.sub(rb"\1\2...", passed.message.encode())
