"""The message ladder of a shown call."""

from __future__ import annotations

from datetime import UTC, datetime

from sipmikey.phone.calls import ShownCall
from sipmikey.phone.fold import at_of
from sipmikey.phone.ladder.events import steps
from sipmikey.phone.ladder.picture import render
from sipmikey.phone.state import Phone


def call_ladder(call: ShownCall, phone: Phone, *, width: int = 78) -> str:
    """Return the ladder of *call*: our side, the KMS, the other side; at most *width* columns."""
    account = phone.accounts.get(call.account)
    us = account.identity if account is not None and account.identity else "us"
    stamped = [dict(event) | {"ts": _stamp(at_of(event))} for event in call.events]
    try:
        drawn = list(steps(stamped, us=us, peer=call.name))
    except (KeyError, TypeError, ValueError):
        return ""  # documents that lack what the agent always says
    return render(drawn, lanes=(us, "KMS", call.name), width=width)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
