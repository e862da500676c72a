"""A SIP proxy for tests: it forks, it can be told to misbehave, and it remembers what passed.

Every agent of a test has it as outbound proxy over TCP. It finds the callee's agents by the user and host of
the Request-URI. It neither record-routes nor adds a Via: over TCP, responses come back on the connection of
the request, and later requests go where the Contact of the other side says.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from sipmikey.sip import SipMessage, long_name
from sipmikey.testing.faults import Fault
from sipmikey.testing.sip_message import read_messages

T = TypeVar("T")
Kind = Literal["request", "response"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedMessage:
    """A message that passed, as it left. ``at``: Unix seconds. ``to``: the callee's address and port."""

    at: float
    kind: Kind
    to: tuple[str, int]
    message: SipMessage


@dataclass(slots=True)
class _Rule:
    fault: Fault
    kind: Kind
    method: str
    left: int | None


@dataclass(slots=True)
class _Branch:
    """The way of an INVITE to one agent: its connection and the final status that came back."""

    target: tuple[str, int]
    writer: asyncio.StreamWriter
    final: SipMessage | None = None


@dataclass(slots=True)
class _Line:
    """The connection of one caller, the connections it led to, and what goes on over them.

    ``asked``: where requests of callees came from, by the branch of their top Via, for the responses to them.
    """

    caller: asyncio.StreamWriter
    forks: dict[str, _Fork] = field(default_factory=dict)
    onward: dict[tuple[str, int], asyncio.StreamWriter] = field(default_factory=dict)
    asked: dict[str, asyncio.StreamWriter] = field(default_factory=dict)


@dataclass(slots=True)
class _Fork:
    """An INVITE under way: what it was, and where it went. ``answered``: a 2xx was passed on."""

    invite: SipMessage
    branches: list[_Branch] = field(default_factory=list)
    answered: bool = False
    failed: bool = False


class Switchboard:
    """The proxy; it runs in a thread of its own from `start` to `stop`.

    ``let_all_answer``: do not cancel the other branches when one answers, so that a caller may get two 200s.
    """

    def __init__(self) -> None:
        self.let_all_answer = False
        self.passed: list[PassedMessage] = []
        self._agents: dict[str, list[tuple[str, int]]] = {}
        self._rules: list[_Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="switchboard", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def uri(self) -> str:
        """What agents have as outbound proxy."""
        return f"sip:127.0.0.1:{self.port};transport=tcp;lr"

    def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._thread.start()
        self._server = self.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def run(self, work: Coroutine[Any, Any, T], *, timeout_s: float = 10.0) -> T:
        """Run a coroutine in the switchboard's thread and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        # Connections accepted at the last moment have their tasks by now.
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def connect(self, identity: str, host: str, port: int) -> None:
        """Let calls for *identity* go to the agent at that TCP address too: several agents fork the call."""
        self._agents.setdefault(_address(identity), []).append((host, port))

    def disconnect(self, identity: str) -> None:
        """Forget the agents of *identity*."""
        self._agents.pop(_address(identity), None)

    def misbehave(
        self, fault: Fault, *, on: Kind = "request", method: str = "INVITE", times: int | None = None
    ) -> None:
        """Apply *fault* to requests of *method*, or to the responses to them, the next *times* times."""
        self._rules.append(_Rule(fault=fault, kind=on, method=method, left=times))

    def behave(self) -> None:
        """Forget all faults."""
        self._rules.clear()

    def reset(self) -> None:
        """Forget everything: no agents, no faults, nothing passed."""
        self.let_all_answer = False
        self.passed = []
        self._agents.clear()
        self.behave()

    def _through(self, message: SipMessage, kind: Kind, target: tuple[str, int]) -> SipMessage:
        for rule in self._rules:
            if rule.kind == kind and rule.method == message.method and rule.left != 0:
                changed = rule.fault(message)
                if rule.left is not None and changed is not message:
                    rule.left -= 1
                message = changed
        self.passed.append(PassedMessage(at=time.time(), kind=kind, to=target, message=message))
        return message

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        """Pass on the requests of one caller."""
        line = _Line(caller)
        try:
            async for message in read_messages(reader):
                if not message.status:
                    await self._request(message, line)
                elif (callee := line.asked.get(_branch(message))) is not None:
                    callee.write(message.encode())
        except asyncio.CancelledError:
            pass  # `stop`
        finally:
            for writer in (caller, *line.onward.values()):
                writer.close()

    async def _request(self, message: SipMessage, line: _Line) -> None:
        """Pass a request of the caller on to whom it is for."""
        call_id = message.first("call-id") or ""
        fork = line.forks.get(call_id)
        if message.method == "ACK" and fork is not None and fork.failed:
            return  # it ends the caller's own transaction; each branch was acknowledged when it failed
        if message.method == "INVITE" and not message.to_tag:
            fork = line.forks[call_id] = _Fork(message)
        targets = self._agents.get(_address(message.request_uri), [])
        if not targets and message.to_tag and (contact := _host_and_port(message.request_uri)) is not None:
            targets = [contact]  # within a dialog: it goes where the other side said it is
        if not targets:
            line.caller.write(_reply(message, "404 Not Found").encode())
            return
        for target in targets:
            if target not in line.onward:
                try:
                    reader, line.onward[target] = await asyncio.open_connection(*target)
                except OSError:
                    line.caller.write(_reply(message, "480 Temporarily Unavailable").encode())
                    continue
                self._spawn(self._answers(reader, target, line))
            if fork is not None and message is fork.invite:
                fork.branches.append(_Branch(target, line.onward[target]))
            line.onward[target].write(self._through(message, "request", target).encode())

    async def _answers(self, reader: asyncio.StreamReader, target: tuple[str, int], line: _Line) -> None:
        """Pass on the responses of one callee, and its requests (it may use the same connection for them)."""
        async for message in read_messages(reader):
            fork = line.forks.get(message.first("call-id") or "")
            if not message.status:
                line.asked[_branch(message)] = line.onward[target]
                line.caller.write(self._through(message, "request", target).encode())
            elif fork is not None and message.method == "INVITE" and message.status >= 200:
                self._final(message, target, line.caller, fork)
            elif fork is None or message.method != "CANCEL" or not fork.answered:
                line.caller.write(self._through(message, "response", target).encode())

    def _final(
        self, message: SipMessage, target: tuple[str, int], caller: asyncio.StreamWriter, fork: _Fork
    ) -> None:
        """A 2xx goes to the caller at once; a failure only when every branch has failed."""
        branch = next(branch for branch in fork.branches if branch.target == target)
        status = message.status
        if branch.final is not None and status >= 300:
            return
        branch.final = message
        if status < 300:
            fork.answered = True
            caller.write(self._through(message, "response", target).encode())
            for other in fork.branches:
                if other.final is None and not self.let_all_answer:
                    other.writer.write(_of_invite(fork.invite, "CANCEL").encode())
            return
        branch.writer.write(_of_invite(fork.invite, "ACK", to=message.one("to")).encode())
        if fork.answered or any(other.final is None for other in fork.branches):
            return
        fork.failed = True
        finals = [other.final for other in fork.branches if other.final is not None]
        best = min(finals, key=lambda final: final.status)
        caller.write(self._through(best, "response", target).encode())


def _address(uri: str) -> str:
    """Return user and host of a SIP URI: `sip:bob@example.com;transport=tcp` is `bob@example.com`."""
    return uri.partition(":")[2].partition(";")[0].partition("?")[0].lower()


def _branch(message: SipMessage) -> str:
    """Return the branch of the top Via: the same in a request and its responses."""
    via = message.top_via
    return "" if via is None else via.branch


def _host_and_port(uri: str) -> tuple[str, int] | None:
    """Return where a contact on this machine is, or None for other URIs."""
    found = re.search(r"@(127\.0\.0\.1):(\d+)", uri)
    return None if found is None else (found[1], int(found[2]))


def _reply(request: SipMessage, status: str) -> SipMessage:
    """Return an answer of the switchboard's own."""
    kept = _fields(request, "via", "from", "call-id", "cseq")
    to = request.one("to")
    to = to if request.to_tag else f"{to};tag=switchboard"
    return SipMessage(start_line=f"SIP/2.0 {status}", headers=(*kept, ("To", to)))


def _fields(message: SipMessage, *names: str) -> tuple[tuple[str, str], ...]:
    """Return the header fields of *names* (lower case, long form), in their order."""
    return tuple((name, value) for name, value in message.headers if long_name(name) in names)


def _of_invite(invite: SipMessage, method: str, *, to: str | None = None) -> SipMessage:
    """Return the CANCEL or the ACK that belongs to an INVITE (RFC 3261 sections 9.1 and 17.1.1.3)."""
    kept = _fields(invite, "via", "from", "to", "call-id", "max-forwards", "route")
    number = invite.one("cseq").split()[0]
    message = SipMessage(
        start_line=f"{method} {invite.request_uri} SIP/2.0", headers=(*kept, ("CSeq", f"{number} {method}"))
    )
    return message if to is None else message.with_header("To", to)
