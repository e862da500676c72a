"""Commands as lines: what is not one is refused with the field and the reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent import Agent
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


def test_a_ticket_sent_ahead_is_told_with_who_resolved_it() -> None:
    desk = Desk(lambda fields: None)
    desk.use(cast(Agent, TicketAgent()))
    told = asyncio.run(desk.do("send-ahead", {"uri": "sip:b@x.example"}))
    assert told == {"peer": "sip:b@x.example has it"}
