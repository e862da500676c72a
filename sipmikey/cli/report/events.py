"""The events of a report: what `--json` printed, each field taken for what its type is known to hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping

from sipmikey.call.events import Security, StreamStats, TicketFacts, event_types
from sipmikey.cli.output import JsonValue
from sipmikey.cli.report.redaction import Redactor

MOST = 2000
"""Events kept, the latest."""

SAID = frozenset({"digit", "display_name", "name"})
"""Fields with what people said, dialled or called themselves or their devices: only told to be there."""

_OWN_LINES = {
    "result": frozenset({"exit_code", "exit_meaning", "reason", "side", "status", "detail"}),
    "error": frozenset({"exit_code", "reason", "detail"}),
    "agent.ready": frozenset({"identity", "contact"}),
    "call.rings": frozenset({"caller", "called", "security"}),
    "call.answering": frozenset(),
    "call.declining": frozenset({"by"}),
    "check": frozenset({"name", "state", "detail", "advice"}),
    "kit.ready": frozenset({"contact"}),
}
"""Lines of the commands that are not events of an agent: their type and fields."""

_COMMON = ("v", "ts", "at", "call")
_NESTED: Mapping[str, type] = {"security": Security, "ticket": TicketFacts, "streams": StreamStats}


def known_fields() -> dict[str, frozenset[str]]:
    """Return the fields of each type of line that a report may have."""
    known = dict(_OWN_LINES)
    for kind in event_types():
        known[kind.type] = frozenset(field.name for field in dataclasses.fields(kind))
    return known


def redacted_events(lines: Iterable[str], redactor: Redactor) -> tuple[list[JsonValue], int]:
    """Return the events in *lines*, the latest 2000, and how many lines were left out.

    A line that is not a JSON object with a type is left out whole. Of a type that is not known only the type
    and the names of its fields are kept, since it is unknown what they hold.
    """
    known, kept, left_out = known_fields(), list[JsonValue](), 0
    for line in lines:
        document = _document(line)
        if document is None:
            left_out += bool(line.strip())
            continue
        kept.append(_redacted(document, known.get(str(document["type"])), redactor))
    return kept[-MOST:], left_out + max(0, len(kept) - MOST)


def _document(line: str) -> Mapping[str, object] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and isinstance(document.get("type"), str):
        return document
    return None


def _redacted(document: Mapping[str, object], known: frozenset[str] | None, redactor: Redactor) -> JsonValue:
    head: dict[str, JsonValue] = {"type": redactor.text(str(document["type"]))}
    head |= {name: redactor.value(document[name]) for name in _COMMON if name in document}
    rest = {name: value for name, value in document.items() if name not in head}
    if known is None:
        return {**head, "fields": [redactor.text(name) for name in sorted(rest)]}
    # A finding of `sipmikey check` is named by us.
    said = SAID - {"name"} if document["type"] == "check" else SAID
    shown = {name: _field(name, value, redactor, said) for name, value in rest.items() if name in known}
    if unknown := [redactor.text(name) for name in sorted(rest) if name not in known]:
        shown["fields"] = list[JsonValue](unknown)
    return {**head, **shown}


def _field(name: str, value: object, redactor: Redactor, said: frozenset[str]) -> JsonValue:
    if name in said:
        return "(set)" if value else ""
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [_field(name, item, redactor, said) for item in value]
    if not isinstance(value, Mapping):
        return redactor.value(value)
    kind = _NESTED.get(name)
    if kind is None:
        return "(set)"
    fields = {field.name for field in dataclasses.fields(kind)}
    return {inner: redactor.value(item) for inner, item in value.items() if inner in fields}
