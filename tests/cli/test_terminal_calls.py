"""Calls at a terminal: who calls is asked about, keys act on calls, and four lines tell of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipmikey.testing import TestKms
from tests.cli.terminal import Terminal
from tests.phone.agents import JsonAgent, settings

ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"

Start = Callable[..., Terminal]


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKms]:
    server = TestKms(tmp_path_factory.mktemp("kms"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def terminal(kms: TestKms, tmp_path: Path) -> Iterator[Start]:
    """Start a command as somebody, on a terminal."""
    running: list[Terminal] = []

    def start(command: str, identity: str, *words: str) -> Terminal:
        running.append(Terminal(command, *words, *settings(kms, tmp_path, identity)))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture
def peer(kms: TestKms, tmp_path: Path) -> Iterator[Callable[[str], JsonAgent]]:
    """Start an agent without a terminal."""
    running: list[JsonAgent] = []

    def start(identity: str) -> JsonAgent:
        running.append(JsonAgent(settings(kms, tmp_path, identity)))
        running[-1].contact = running[-1].until("agent.ready")["contact"]
        return running[-1]

    yield start
    for one in running:
        one.kill()


def address(waiting: Terminal) -> str:
    line = waiting.until("Ready: ") and waiting.until(".\n")
    return line.partition("Ready: ")[2].partition(" at ")[2].partition("\n")[0].removesuffix(".")


def test_a_call_is_asked_about_and_four_lines_tell_of_it(
    terminal: Start, peer: Callable[[str], JsonAgent]
) -> None:
    bob, alice = terminal("answer", BOB, "--once"), peer(ALICE)
    contact = address(bob)
    call = alice.do("call", uri=BOB, via=contact)["call"]
    bob.until(f"{ALICE} calls. sip:kms@example.com vouches that this is {ALICE}.")
    bob.until("[a] answer  [d] decline  [b] busy")
    bob.type("a")
    bob.until("[k] new keys")
    bob.until(f"Talking to {ALICE}: PROVEN. sip:kms@example.com vouches that this is {ALICE}.")
    bob.type("k")
    alice.until("media.rekeyed")
    bob.type("p")  # alice knows before bob that the keys are new: the hold waits for them
    bob.until(f"{ALICE} is on hold.")
    bob.type("p")
    bob.until(f"{ALICE} is off hold.")
    bob.type("5")
    assert alice.until("dtmf.received")["digit"] == "5"
    bob.type("h")
    assert alice.until("call.end")["call"] == call
    bob.until("You hung up.")
    assert bob.end() == 0
    for word in ("RESOLVE_INIT", "TRANSFER", "kms.request", "stream 0"):
        assert word not in bob.screen


def test_a_call_is_declined_and_calls_can_be_made_from_the_same_process(
    terminal: Start, peer: Callable[[str], JsonAgent]
) -> None:
    bob, alice = terminal("answer", BOB), peer(ALICE)
    contact = address(bob)
    alice.do("call", uri=BOB, via=contact)
    bob.until("[d] decline")
    bob.type("d")
    assert alice.until("call.end")["reason"] == "declined"
    bob.until("[c] call")
    bob.type("c" + "nobody@example.invalid\n")
    bob.until("No call with sip:nobody@example.invalid.")
    bob.type("q")
    assert bob.end() in (0, 1, 3, 4)


def test_closing_the_terminal_hangs_up(terminal: Start, peer: Callable[[str], JsonAgent]) -> None:
    alice = peer(ALICE)
    bob = terminal("call", BOB, ALICE, "--via", alice.contact)
    alice.do("answer", call=alice.until("call.rings")["call"])
    bob.until("PROVEN")
    bob.hang_up()
    end = alice.until("call.end")
    assert (end["reason"], end["side"]) == ("hangup", "remote")
    assert bob.end() == 0


def test_the_protocol_is_told_with_v(terminal: Start, peer: Callable[[str], JsonAgent]) -> None:
    alice = peer(ALICE)
    bob = terminal("call", BOB, "-v", ALICE, "--via", alice.contact)
    alice.do("answer", call=alice.until("call.rings")["call"])
    bob.until("TRANSFER_INIT sent in SDP")
    bob.until("call PROVEN | signalling:")
    bob.type("h")
    assert bob.end() == 0


def test_auto_never_takes_a_second_call_beside_the_first(
    terminal: Start, peer: Callable[[str], JsonAgent]
) -> None:
    bob, alice, carol = terminal("answer", BOB, "--auto"), peer(ALICE), peer(CAROL)
    contact = address(bob)
    alice.do("call", uri=BOB, via=contact)
    alice.until("call.state", lambda event: event["state"] == "proven")
    carol.do("call", uri=BOB, via=contact)
    assert carol.until("call.end")["reason"] == "busy"
    bob.type("q")
    assert alice.until("call.end")["reason"] == "hangup"
