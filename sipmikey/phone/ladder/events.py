"""The ladder of a call as one agent saw it: its events as arrows between it, the other side and the KMS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sipmikey.phone.ladder.picture import Step

Document = Mapping[str, Any]

EXCHANGES = {"ticket-request": "REQUEST", "ticket-resolve": "RESOLVE"}


def steps(events: Iterable[Document], *, us: str, peer: str, kms: str = "KMS") -> Iterator[Step]:
    """Yield the arrows of *events* (JSON data with `ts`); *us*, *peer* and *kms* name the lanes."""
    called = False
    for event in events:
        called = called or event["type"] == "call.in"
        if (drawn := _draw(event, us, peer, kms, called=called)) is not None:
            source, target, text = drawn
            time = datetime.fromisoformat(event["ts"]).timestamp()
            yield Step(time=time, source=source, target=target, text=text)


def _draw(event: Document, us: str, peer: str, kms: str, *, called: bool) -> tuple[str, str, str] | None:
    """Return source, target and text of one event's arrow; a note has the same source and target."""
    match event["type"]:
        case "kms.request":
            return us, kms, f"{EXCHANGES[event['exchange']]}_INIT {event['size']}"
        case "kms.response":
            return kms, us, f"{EXCHANGES[event['exchange']]}_RESP {event['size']}"
        case "call.out":
            return us, peer, "INVITE"
        case "call.in":
            return peer, us, "INVITE"
        case "mikey.sent":
            return us, peer, f"{event['message']} {event['size']}"
        case "mikey.received":
            return peer, us, f"{event['message']} {event['size']}"
        case "call.ringing":
            return peer, us, f"{event['status']}"
        case "call.redirected":
            return peer, us, f"{event['status']}, now {event['target']}"
        case "call.answered":
            return (us, peer, "200 OK") if called else (peer, us, "200 OK")
        case "transfer.requested":
            return peer, us, f"REFER to {event['target']}"
        case "replacement.requested":
            return peer, us, f"INVITE in place of call {event['call']}"
        case "media.keyed" | "media.rekeyed":
            return us, us, f"stream {event['index']}: {event['suite']}"
        case "media.proven":
            return us, us, f"stream {event['index']}: proven"
        case "kms.error" | "mikey.refused" | "policy.refused" | "policy.fallback" | "media.failed":
            return us, us, f"{event['type']}: {event['reason']}"
        case "policy.question":
            return us, us, f"{event['type']}: {event['peer']}?"
        case "policy.alternative":
            return us, us, f"{event['type']}: {event['keying']}, {event['reason']}"
        case "fork.abandoned":
            return us, us, f"branch abandoned: {event['reason']}"
        case "call.end":
            text = f"end: {event['reason']}"
            return {"local": (us, peer, text), "remote": (peer, us, text)}.get(event["side"], (us, us, text))
    return None
