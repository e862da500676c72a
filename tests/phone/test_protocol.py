"""Commands as lines: what is not one is refused with the field and the reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent import Agent
from sipmikey.phone.edge.box import MessageFailed
from sipmikey.phone.edge.desk import Desk
from sipmikey.phone.protocol import VERBS, BadCommand, commands_table, read_command

DOCUMENT = Path(__file__).parents[2] / "docs" / "agent-json.md"


def test_the_document_lists_every_command() -> None:
    assert commands_table() in DOCUMENT.read_text(encoding="utf-8")


def test_a_command_is_read_with_its_defaults() -> None:
    command = read_command('{"id": "x", "do": "decline", "call": 3}')
    assert (command.do, command.identifier, dict(command.values)) == (
        "decline", "x", {"call": "3", "status": 603},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given_fields", "said"),
    [
        ({"do": "hangup"}, "call is missing"),
        ({"do": "hangpu"}, "did you mean hangup"),
        ({"do": "hangup", "call": "1", "cal": 2}, "unknown field"),
        ({"do": "decline", "call": "1", "status": 200}, "300 to 699"),
        ({"do": "digits", "call": "1", "digits": "12x"}, "digits are needed"),
        ({"do": "decide", "call": "1", "accept": "yes"}, "true or false"),
        ({"do": "call", "uri": "sip:a\nb"}, "a text is needed"),
        ({"do": "quit", "id": [1]}, "id"),
    ],
)
def test_what_is_wrong_is_named(given_fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadCommand, match=said):
        read_command(json.dumps(given_fields))


_names = st.sampled_from(["id", "do", "call", "uri"])
_plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
_json = st.recursive(
    _plain | st.sampled_from(list(VERBS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner),
    max_leaves=8,
)


@given(st.one_of(st.text(), _json.map(json.dumps)))
def test_no_line_does_anything_else_than_be_a_command_or_be_refused(line: str) -> None:
    with contextlib.suppress(BadCommand):
        assert read_command(line).do in VERBS


class TicketAgent:
    """An agent that has sent a ticket ahead."""

    async def send_ahead(self, uri: str) -> str:
        return f"{uri} has it"


class FakeBox:
    """A box with one message, which the KMS may refuse to resolve."""

    def __init__(self, *, refused: bool = False) -> None:
        self.refused = refused
        self.output = ""
        self.asked: list[str] = []

    async def listed(self) -> list[dict[str, Any]]:
        return [{"message": "a", "heard": "play a" in self.asked}]

    async def play(
        self, name: str, *, output: str, begins: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        if self.refused:
            raise MessageFailed("kms-refused: ask the administrator", reason="kms-refused", side="kms")
        self.output = output
        self.asked.append(f"play {name}")
        begins({"from": "sip:b@x.example"})
        return {"from": "sip:b@x.example", "stopped": False}

    def stop(self) -> None:
        self.asked.append("stop")

    async def delete(self, name: str) -> None:
        self.asked.append(f"delete {name}")


class SoundAgent:
    """An agent whose devices can be chosen."""

    class sound:  # noqa: N801 - as the agent names it
        @staticmethod
        def select(role: str, name: str) -> None: ...

    class config:  # noqa: N801
        class audio:  # noqa: N801
            device = "null"


def told_of(box: FakeBox, *lines: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a desk with *box* says to commands, one after the other."""
    said: list[dict[str, Any]] = []

    async def scene() -> None:
        desk = Desk(said.append, box=box)
        desk.use(cast(Agent, SoundAgent()))
        for number, line in enumerate(lines, 1):
            desk.take(json.dumps({"id": number, **line}))
            while said[-1:] == [] or said[-1].get("id") != number:
                await asyncio.sleep(0)

    asyncio.run(scene())
    return said


def test_a_message_is_played_on_the_chosen_speaker_listed_as_heard_and_deleted() -> None:
    box = FakeBox()
    said = told_of(
        box, {"do": "device", "role": "output", "name": "Headset"}, {"do": "play-message", "message": "a"},
        {"do": "stop-message"}, {"do": "delete-message", "message": "a"},
    )  # fmt: skip
    assert box.output == "Headset"
    assert box.asked == ["play a", "stop", "delete a"]
    assert [one["type"] for one in said] == [
        "command.done", "message.playing", "message.played", "messages.listed", "command.done",
        "command.done", "messages.listed", "command.done",
    ]  # fmt: skip
    assert said[3]["messages"] == [{"message": "a", "heard": True}]


def test_what_the_kms_refuses_is_told_in_words_and_is_not_heard() -> None:
    refused, failed = told_of(FakeBox(refused=True), {"do": "play-message", "message": "a"})
    assert (refused["type"], refused["message"], refused["reason"]) == ("message.refused", "a", "kms-refused")
    assert (failed["type"], failed["reason"], failed["side"]) == ("command.failed", "kms-refused", "kms")
    assert failed["detail"] == "kms-refused: ask the administrator"


def test_a_ticket_sent_ahead_is_told_with_who_resolved_it() -> None:
    desk = Desk(lambda fields: None)
    desk.use(cast(Agent, TicketAgent()))
    told = asyncio.run(desk.do("send-ahead", {"uri": "sip:b@x.example"}))
    assert told == {"peer": "sip:b@x.example has it"}
