"""A stack process that hangs at its start is ended, and another one takes its place."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import cast
from unittest.mock import Mock

import pytest

from sipmikey.agent.config import AgentConfig, Transport
from sipmikey.agent.isolation import stack as isolated_stack
from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.isolation.nursery import Nursery, SpawnedProcess
from sipmikey.agent.isolation.slot import START_S, Slot, Started
from sipmikey.agent.isolation.stack import IsolatedStack
from sipmikey.agent.isolation.worker import Worker

AT = {Transport.UDP: "127.0.0.1:5060"}


class HangingWorker:
    """A process that says nothing until a test has it say that it is up."""

    def __init__(self, ports: Mapping[Transport, int], started: Started) -> None:
        self.ports = ports
        self.started = False
        self.buried = False
        self.calls: dict[int, RemoteCall] = {}
        self._has_started = started

    def is_up(self) -> None:
        self.started = True
        self._has_started(AT, None)

    def bury(self) -> int | None:
        self.buried = True
        return -9


class Owner:
    leaving = False

    def __init__(self) -> None:
        self.made: list[HangingWorker] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.deaths: list[str] = []

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        self.timers.append((delay_s, work))

    def make_worker(self, slot: Slot, ports: Mapping[Transport, int], started: Started) -> Worker:
        self.made.append(HangingWorker(ports, started))
        return cast(Worker, self.made[-1])

    def has_started(self, slot: Slot, *, again: bool) -> None: ...

    def has_died(self, slot: Slot, calls: list[RemoteCall], detail: str, pause_s: float) -> None:
        self.deaths.append(detail)

    def ring(self) -> None:
        """Let the first timer ring."""
        delay_s, work = self.timers.pop(0)
        assert delay_s == START_S
        work()


def test_a_process_that_hangs_when_started_again_is_replaced() -> None:
    owner = Owner()
    slot = Slot(0, owner)
    slot.start()
    owner.made[0].is_up()
    owner.ring()
    assert not owner.made[0].buried, "it was up in time"
    slot._died("")
    owner.ring()
    assert owner.made[1].buried
    assert owner.deaths[1] == f"it was not ready within {START_S:g} s"
    assert owner.made[2].ports == {Transport.UDP: 5060}
    owner.made[2].is_up()
    assert slot.worker is cast(Worker, owner.made[2])


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.mark.processes
def test_a_first_process_that_hangs_is_replaced(
    monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]
) -> None:
    """The agent's start waits for it, and must not wait for ever."""
    make, kept = Nursery.make, socket.socketpair()
    asked: list[Nursery] = []

    def hang_once(self: Nursery) -> SpawnedProcess:
        asked.append(self)
        return SpawnedProcess(sleeper.pid, kept[0]) if len(asked) == 1 else make(self)

    monkeypatch.setattr(Nursery, "make", hang_once)
    monkeypatch.setattr(isolated_stack, "START_S", 5.0)
    with kept[1]:
        stack = IsolatedStack(AgentConfig(identity="sip:a@example.com"), Mock(), lambda *_: None, keys=None)
        try:
            assert len(asked) == 2
            assert stack.addresses[Transport.UDP]
        finally:
            stack.destroy()
