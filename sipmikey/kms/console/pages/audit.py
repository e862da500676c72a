"""The audit log: searched, and taken along."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from starlette.responses import Response

from sipmikey.kms.administration.audit_acts import AdminAct
from sipmikey.kms.audit import AuditEvent, AuditQuery, Decision, key_name
from sipmikey.kms.console.console_request import ConsoleRequest
from sipmikey.mikey.errors import LocalError

ROWS = 100
MOST_EXPORTED = 100_000

_SPAN = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_NS = 1_000_000_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def search(asked: ConsoleRequest) -> Response:
    """Show the events that fit, the newest first."""
    query = _query(asked)
    found = await asked.store.audit.query(query)
    shown = [(event, _when(event), _credential(event)) for event in found]
    return asked.page("audit", found=shown, most=ROWS, decisions=list(Decision), fields=_fields(asked))


async def export(asked: ConsoleRequest) -> Response:
    """Return the events that fit as CSV or JSON lines. That somebody took them is an event, too."""
    as_json = asked.query.get("format") == "json"
    found = await asked.store.audit.query(replace(_query(asked), limit=MOST_EXPORTED))
    searched = ", ".join(f"{name} {value}" for name, value in _fields(asked).items() if value)
    await asked.admin.acted(AdminAct.EXPORT_AUDIT, detail=f"{len(found)} events; {searched or 'all'}"[:500])
    text = "".join(map(_json, found)) if as_json else _csv(found)
    kind, name = ("application/jsonl", "audit.jsonl") if as_json else ("text/csv", "audit.csv")
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _fields(asked: ConsoleRequest) -> dict[str, str]:
    names = ("subscriber", "ticket", "decision", "since", "until")
    return {name: asked.query.get(name, "").strip()[:300] for name in names}


def _query(asked: ConsoleRequest) -> AuditQuery:
    fields = _fields(asked)
    if fields["decision"] not in ("", *Decision):
        raise LocalError(f"a decision is one of {', '.join(Decision)}")
    return AuditQuery(
        subscriber=fields["subscriber"] or None,
        ticket=fields["ticket"].lower() or None,
        decision=Decision(fields["decision"]) if fields["decision"] else None,
        since_ns=_time_ns(fields["since"]),
        until_ns=_time_ns(fields["until"]),
        limit=ROWS,
    )


def _time_ns(text: str) -> int | None:
    """Return a time, or a span before now, in Unix nanoseconds."""
    if not text:
        return None
    if span := _SPAN.fullmatch(text):
        return time.time_ns() - int(span[1]) * _SECONDS[span[2]] * _NS
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * _NS
    except (ValueError, OverflowError):
        raise LocalError(
            f"{text!r} is neither a time (2026-11-01T00:00Z) nor a span (90s, 15m, 2h, 7d)"
        ) from None


def _when(event: AuditEvent) -> str:
    moment = datetime.fromtimestamp(event.time_ns / _NS, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _credential(event: AuditEvent) -> str:
    return key_name(event.credential) or event.credential


def _json(event: AuditEvent) -> str:
    return json.dumps({"ts": _when(event), **event.as_dict()}) + "\n"


def _csv(events: Sequence[AuditEvent]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    columns = ("ts", *AuditEvent.__dataclass_fields__)
    writer.writerow(columns)
    for event in events:
        row = {"ts": _when(event), **event.as_dict(), "peers": " ".join(event.peers)}
        writer.writerow([_cell(row[column]) for column in columns])
    return text.getvalue()


def _cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
