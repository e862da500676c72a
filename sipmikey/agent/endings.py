"""Ends of calls that no machine reports: calls without an INVITE, and calls that the closing agent ends."""

from __future__ import annotations

import time

from sipmikey.call.ending import Ending
from sipmikey.call.events import CallEnded, Event, MediaProtection, PolicyRefused, Security
from sipmikey.call.reasons import Reason


def not_called(number: str, called: str, ending: Ending) -> list[Event]:
    """Return the events of a call to *called* that ended before its INVITE."""
    told: list[Event] = []
    if ending.reason is Reason.TOO_MANY_CALLS:
        told.append(
            PolicyRefused(
                at=time.time(), call=number, reason=ending.reason, side="local", detail=ending.detail
            )
        )
    security = Security(signalling="udp", media=MediaProtection.HELD, called=called)
    told.append(
        CallEnded(
            at=time.time(), call=number, reason=ending.reason, side=ending.side, status=ending.status,
            detail=ending.detail, duration_s=0.0, security=security,
        )
    )  # fmt: skip
    return told


def closed_upon(number: str, security: Security) -> CallEnded:
    """Return the end of a call that the stack did not know, such as one between two INVITEs."""
    return CallEnded(
        at=time.time(), call=number, reason=Reason.CANCELLED, side="local", status=487,
        detail="the agent was closed", duration_s=0.0, security=security,
    )  # fmt: skip
