"""The state of the calls of a test, in words: for a test whose wait was over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_WORDS: Mapping[str, str] = {
    "call.out": "has called, and nothing has come back",
    "call.ringing": "hears that it rings at the other side",
    "call.in": "has a call that is being checked",
    "kit.incoming": "has a call that is being checked",
    "kit.ringing": "rings, and nothing has answered: a test does so with answer()",
    "kit.answered": "has answered",
    "call.answered": "is in a call, with nothing proven yet",
    "media.proven": "is in a call, with proven media",
    "media.failed": "is in a call whose packets do not verify",
    "media.stalled": "is in a call in which nothing arrives any more",
}


def situation(agents: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> str:
    """Return one line with the state of each agent, by name and events."""
    return "; ".join(f"{name} {_stands(events)}" for name, events in agents)


def _stands(events: Sequence[Mapping[str, Any]]) -> str:
    if not events:
        return "has not been used"
    for event in reversed(events):
        if event["type"] == "call.end":
            return f"has no call any more: {event['reason']} by {event['side']} ({event['detail']})"
        if event["type"] in _WORDS:
            return _WORDS[event["type"]]
    return "has no call"
