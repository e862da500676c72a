"""`sipmikey agent --json`: one process that calls and is called, with real calls and a real KMS."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sipmikey.phone import Outcome, replay
from sipmikey.phone.protocol import PROTOCOL, VERBS
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from tests.agent.processes import children_of
from tests.phone.agents import JsonAgent
from tests.phone.documents import ALICE, BOB, CAROL

pytestmark = pytest.mark.processes

Start = Callable[..., JsonAgent]


def connected(caller: JsonAgent, callee: JsonAgent, uri: str = BOB) -> tuple[str, str]:
    """Set a call up; return its numbers on both sides."""
    number = caller.do("call", uri=uri, via=callee.contact)["call"]
    rings = callee.until("call.rings")
    callee.do("answer", call=rings["call"])
    caller.until("call.state", lambda event: event["call"] == number and event["state"] == "proven")
    return number, rings["call"]


def until_hold(agent: JsonAgent, number: str, word: str) -> None:
    """Read until a call is held so; the outcome of a command may come before the event that tells of it."""
    while replay(agent.seen).calls["", number].hold != word:
        agent.until("call.state")


def test_one_process_calls_and_is_called(agent: Start) -> None:
    alice, bob = agent(ALICE), agent(BOB)
    hello = next(event for event in alice.seen if event["type"] == "agent.hello")
    assert hello["protocol"] == PROTOCOL
    assert hello["commands"] == list(VERBS)
    for caller, callee, uri in ((alice, bob, BOB), (bob, alice, ALICE)):
        number = caller.do("call", uri=uri, via=callee.contact)["call"]
        rings = callee.until("call.rings")
        assert rings["security"]["peer"] == rings["caller"] == (ALICE if uri == BOB else BOB)
        assert rings["security"]["kms"].startswith("sip:kms@")
        callee.do("answer", call=rings["call"])
        for one in (caller, callee):
            one.until("call.state", lambda event: event["state"] == "proven")
        caller.do("hangup", call=number)
        callee.until("call.end")
    assert alice.end() == 0
    phone = replay(alice.seen)
    assert [(entry.outcome, entry.proven) for entry in phone.history] == [(Outcome.ANSWERED, True)] * 2


def test_a_second_call_waits_and_swap_holds_the_other(agent: Start) -> None:
    bob, alice, carol = agent(BOB), agent(ALICE), agent(CAROL)
    _, first = connected(alice, bob)
    carol.do("call", uri=BOB, via=bob.contact)
    second = bob.until("call.rings")
    assert second["caller"] == CAROL
    assert not [event for event in bob.seen if event["type"] == "call.end"]
    bob.do("answer", call=second["call"])
    until_hold(bob, first, "holding")
    phone = replay(bob.seen)
    assert phone.calls["", first].hold == "holding"
    assert phone.calls["", second["call"]].hold == "talking"
    bob.do("swap", call=first)
    until_hold(bob, first, "talking")
    phone = replay(bob.seen)
    assert phone.calls["", first].hold == "talking"
    assert phone.calls["", second["call"]].hold == "holding"


def test_busy_decline_and_do_not_disturb(agent: Start) -> None:
    alice, bob = agent(ALICE), agent(BOB)
    for verb, status, reason in (("busy", 486, "busy"), ("decline", 603, "declined")):
        alice.do("call", uri=BOB, via=bob.contact)
        bob.do(verb, call=bob.until("call.rings")["call"])
        end = alice.until("call.end")
        assert (end["status"], end["reason"]) == (status, reason)
    bob.do("do-not-disturb", on=True)
    alice.do("call", uri=BOB, via=bob.contact)
    assert alice.until("call.end")["status"] == 480
    bob.until("call.end")
    phone = replay(bob.seen)
    assert [entry.outcome for entry in phone.history] == [Outcome.MISSED, Outcome.DECLINED, Outcome.DECLINED]
    assert phone.accounts[""].do_not_disturb


def test_new_keys_digits_and_stats_in_a_call(agent: Start) -> None:
    alice, bob = agent(ALICE), agent(BOB)
    number, other = connected(alice, bob)
    alice.do("rekey", call=number)
    bob.until("media.rekeyed")
    alice.do("digits", call=number, digits="12#")
    assert [bob.until("dtmf.received")["digit"] for _ in range(3)] == ["1", "2", "#"]
    assert alice.do("stats", call=number)["streams"][0]["sent"] > 0
    alice.do("hangup", call=number)
    assert bob.until("call.end")["call"] == other


def test_a_call_is_handed_on(agent: Start) -> None:
    alice, bob, carol = agent(ALICE), agent(BOB), agent(CAROL)
    _, with_alice = connected(alice, bob)
    number = bob.do("call", uri=CAROL, via=carol.contact)["call"]
    carol.do("answer", call=carol.until("call.rings")["call"])
    bob.until("call.state", lambda event: event["call"] == number and event["state"] == "proven")
    outcome = bob.outcome(bob.begin("transfer-to", call=with_alice, other=number))
    # By default nobody lets calls be transferred: the refusal is told, and the call goes on.
    assert outcome["type"] == "command.failed"
    assert outcome["reason"] == "declined"
    bob.do("resume", call=with_alice)


def test_two_calls_become_one_where_transfers_are_allowed(agent: Start, forking_proxy: Kamailio) -> None:
    through = ("--registrar", forking_proxy.uri, "--proxy", forking_proxy.uri)
    phones = [agent(one, *through, SIPMIKEY_SECURITY_TRANSFER="true") for one in (ALICE, BOB, CAROL)]
    for one in phones:
        one.until("reg.ok")
    alice, bob, carol = phones
    numbers = {}
    for other, uri in ((alice, ALICE), (carol, CAROL)):
        numbers[uri] = bob.do("call", uri=uri)["call"]
        other.do("answer", call=other.until("call.rings")["call"])
        other.until("call.state", lambda event: bool(event["state"] == "proven"))
    bob.do("transfer-to", call=numbers[ALICE], other=numbers[CAROL])
    while [(call.vouched, call.protected) for call in replay(alice.seen).live] != [(CAROL, True)]:
        alice.next()


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"do": "fly"}', '{"do": "hangup", "call": "9"}', '{"do": "call"}']
)
def test_a_faulty_command_fails_and_nothing_else_happens(agent: Start, line: str) -> None:
    alice = agent(ALICE)
    alice.write(line)
    failed = alice.until("command.failed")
    assert failed["reason"] == "usage"
    assert failed["detail"]
    assert alice.end() == 0


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM, None])
def test_the_end_of_the_process_ends_its_calls(agent: Start, how: signal.Signals | None) -> None:
    alice, bob = agent(ALICE), agent(BOB)
    connected(alice, bob)
    if how is None:
        assert alice.process.stdin is not None
        alice.process.stdin.close()
    else:
        alice.process.send_signal(how)
    end = bob.until("call.end")
    assert (end["reason"], end["side"]) == ("hangup", "remote")
    assert alice.process.wait(timeout=30) == 0


@pytest.mark.pjsua2_only("about the process that runs pjsua2")
def test_what_stack_processes_are_copies_of_has_no_descriptor_of_the_agent(agent: Start) -> None:
    alice = agent(ALICE)
    (loader,) = children_of(alice.process.pid)
    opened = Path(f"/proc/{loader}/fd")
    kept = {int(one.name): os.readlink(one) for one in opened.iterdir()}
    assert kept.pop(0) == kept.pop(1) == os.devnull
    kept.pop(2)
    (sock,) = kept.values()
    assert sock.startswith("socket:")
