"""docs/events.md tells of every event, field and reason."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from sipmikey.call import events
from sipmikey.call.events import Event, Security, StreamStats, TicketFacts
from sipmikey.call.reasons import Family, Reason
from sipmikey.cli.exit_codes import for_end

TEXT = (Path(__file__).parent.parent.parent / "docs" / "events.md").read_text()
ROWS = {row[1]: row[2] for row in re.finditer(r"^\| `?([\w.-]+)`? \| (.*?) \|$", TEXT, re.MULTILINE)}


def test_every_event_has_a_row_with_its_fields() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    assert len(kinds) > 20
    for kind in kinds:
        if kind is Event:
            continue
        told = ROWS[kind.type].partition(" | ")[0] if not ROWS[kind.type].startswith("|") else ""
        named = set(re.findall(r"`(\w+)`", told))
        assert named == {field.name for field in dataclasses.fields(kind)} - {"at", "call"}, kind.type


def test_the_facts_have_their_fields() -> None:
    for kind in (Security, StreamStats, TicketFacts):
        assert ", ".join(f"`{field.name}`" for field in dataclasses.fields(kind)) in TEXT


def test_every_reason_stands_in_its_family() -> None:
    for family in Family:
        code, _, reasons = ROWS[family].partition(" | ")
        assert int(code) == for_end(family, "local")
        assert re.findall(r"`([\w-]+)`", reasons) == [word for word in Reason if word.family is family]
