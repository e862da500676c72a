"""A conference on the phone: what may be done, what its facts are, and the commands behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sipmikey.phone import Mood, call_actions, replay
from sipmikey.phone.calls import Hold
from sipmikey.phone.conference import conference_note, shown_facts
from sipmikey.phone.controller import Controller, Line, NotPossible
from sipmikey.phone.keys import action_of
from sipmikey.phone.plain import lines
from sipmikey.phone.possible import Action
from sipmikey.phone.shown import call_title
from sipmikey.phone.state import Phone
from tests.phone.agents import JsonAgent
from tests.phone.documents import ALICE, BOB, CAROL, CLEAR, CONFERRING, event, mixed, outgoing, two_calls
from tests.phone.test_agent_json import connected, until_hold

Start = Callable[..., JsonAgent]

DO = {
    Action.CONFERENCE, Action.SPLIT, Action.STEP_OUT, Action.STEP_IN, Action.END_CONFERENCE, Action.SWAP,
}  # fmt: skip


def possible(phone: Phone, number: str = "1") -> set[Action]:
    actions = call_actions(phone, phone.calls["", number])
    return {action for action in DO if actions[action].may}


def test_what_may_be_done_before_in_and_after_a_conference() -> None:
    phone = replay(two_calls())
    assert possible(phone) == {Action.CONFERENCE, Action.SWAP}
    phone = replay([mixed()], phone)
    assert possible(phone) == {Action.SPLIT, Action.STEP_OUT, Action.END_CONFERENCE}
    phone = replay([mixed(present=False)], phone)
    assert possible(phone) == {Action.SPLIT, Action.STEP_IN, Action.END_CONFERENCE}
    assert action_of(phone, "o") is Action.STEP_IN
    phone = replay([mixed(), *outgoing("3")], phone)
    assert possible(phone, "3") == {Action.CONFERENCE, Action.SWAP}
    assert Action.CONFERENCE in possible(phone, "1")
    phone = replay([mixed(legs=())], phone)
    assert possible(phone) == {Action.CONFERENCE, Action.SWAP}
    alone = replay([CONFERRING, *outgoing()])
    why = call_actions(alone, alone.calls["", "1"])
    assert all(why[action].why_not is not None for action in DO)


def test_the_facts_of_a_conference_are_those_of_its_weakest_call() -> None:
    phone = replay([*two_calls(), mixed()])
    assert [fact.key for fact in shown_facts(phone, phone.calls["", "1"])] == ["TLS", "PROVEN", "VOUCHED FOR"]
    weaker = {"keyed": "NOT PROVEN YET", "held": "WAITING FOR KEYS"}
    for media, word in weaker.items():
        phone = replay([*two_calls(media=media), mixed()])
        for number in "12":
            fact = shown_facts(phone, phone.calls["", number])[1]
            assert (fact.key, fact.mood) == (word, Mood.OPEN)
            assert CAROL in str(fact.sentence)
    phone = replay([*two_calls(**CLEAR), mixed()])
    signalling, media_fact, peer = shown_facts(phone, phone.calls["", "1"])
    assert (media_fact.key, media_fact.mood) == ("IN CLEAR", Mood.BAD)
    assert (signalling.mood, peer.mood) == (Mood.OPEN, Mood.BAD)
    said = [line for line in lines(replay(two_calls(**CLEAR)), phone) if "Conference" in str(line.text)]
    assert said[0].mood is Mood.BAD
    stalled = replay([*two_calls(), mixed(), event("media.stalled", "2", index=0)])
    assert shown_facts(stalled, stalled.calls["", "1"])[1].key == "SILENT"


def test_the_clear_call_of_a_conference_is_louder_than_one_that_fails() -> None:
    phone = replay([*two_calls(**CLEAR), mixed(), event("media.failed", "1", index=0)])
    assert shown_facts(phone, phone.calls["", "1"])[1].key == "IN CLEAR"


def test_who_is_in_it_and_that_it_is_mixed_here_is_said() -> None:
    phone = replay([*two_calls(), mixed()])
    call = phone.calls["", "1"]
    title = call_title(call, phone, str)
    assert BOB in title
    assert CAROL in title
    assert "mixes" in str(conference_note(phone, call))
    phone = replay([event("engine.down", "", detail="gone")], phone)
    assert phone.conferences == {}


def test_a_face_sends_the_commands() -> None:
    sent: list[dict[str, Any]] = []
    controller = Controller(
        [Line("", ALICE)], send=lambda account, line: sent.append(json.loads(line)),
        changed=lambda before, after: None, clock=lambda: 0.0,
    )  # fmt: skip
    for document in two_calls():
        controller.take(document)
    sent.clear()
    controller.act(Action.CONFERENCE, ("", "2"))
    with pytest.raises(NotPossible):
        controller.act(Action.STEP_OUT, ("", "1"))
    controller.take(mixed())
    controller.act(Action.STEP_OUT, ("", "1"))
    controller.act(Action.SPLIT, ("", "1"))
    assert [(one["do"], one["call"], one.get("other")) for one in sent] == [
        ("conference", "2", "1"), ("step-out", "1", None), ("split", "1", None),
    ]  # fmt: skip


@pytest.mark.processes
def test_one_takes_two_into_a_conference_steps_out_for_a_call_and_comes_back(agent: Start) -> None:
    bob, alice, carol = agent(BOB), agent(ALICE), agent(CAROL)
    _, first = connected(alice, bob)
    carol.do("call", uri=BOB, via=bob.contact)
    second = bob.until("call.rings")["call"]
    bob.do("answer", call=second)
    until_hold(bob, first, "holding")
    bob.do("conference", call=second, other=first)
    until_hold(bob, first, "talking")
    phone = replay(bob.seen)
    assert phone.conferences[""].legs == (second, first)
    assert phone.calls["", first].conference
    bob.do("step-out", call=first)
    bob.until("conference.changed", lambda event: not event["present"])
    assert replay(bob.seen).calls["", first].hold is Hold.NONE
    bob.do("swap", call=first)
    bob.until("conference.changed", lambda event: event["present"])
    refused = bob.outcome(bob.begin("conference", call=first, other="77"))
    assert refused["reason"] == "usage"
    bob.do("split", call=first)
    until_hold(bob, first, "holding")
    bob.until("conference.changed", lambda event: event["legs"] == [])
    phone = replay(bob.seen)
    assert (phone.conferences, phone.calls["", second].hold) == ({}, Hold.NONE)
    bob.do("conference", call=first, other=second)
    bob.do("end-conference", call=first)
    for one in (alice, carol):
        one.until("call.end")
    assert bob.end() == 0
