"""How well a conference of calls is protected, and which calls may be in it together.

Each call of it is keyed by itself, to the agent that mixes, and what is said in one goes out in the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from sipmikey.call.events import MediaProtection, Security
from sipmikey.call.keying.known import exposed as known_to_others
from sipmikey.call.keying.known import kind_named
from sipmikey.call.policy import CallPolicy, SecurityMode

_END_TO_END = {MediaProtection.HELD: 2, MediaProtection.KEYED: 3, MediaProtection.PROVEN: 4}


def strength(security: Security) -> int:
    """Return how well a leg is protected: 0 in clear, 1 by keys that others can know, 2 no keys yet, 3 keyed,
    4 proven.
    """
    if security.media is MediaProtection.OFF:
        return 0
    return 1 if known_to_others(security.keying) else _END_TO_END[security.media]


def weakest(legs: Mapping[str, Security]) -> str:
    """Return the number of the leg that is protected least, the first of several; ``""`` without legs."""
    return min(legs, key=lambda number: strength(legs[number]), default="")


def exposed(legs: Mapping[str, Security]) -> list[str]:
    """Return the legs that others than the parties can hear: in clear, or by keys that others can know."""
    return [number for number, one in legs.items() if strength(one) < _END_TO_END[MediaProtection.HELD]]


def objection(policy: CallPolicy, legs: Mapping[str, Security]) -> str:
    """Return why these legs may not be mixed under *policy*; ``""`` where they may.

    The words of a peer whose calls must be protected would leave unprotected by another leg.
    """
    if policy.unprotected_in_conference:
        return ""
    open_legs = exposed(legs)
    strict = [
        number
        for number, one in legs.items()
        if policy.security_for(one.peer or one.called or "") is SecurityMode.REQUIRED
    ]
    if not open_legs or not strict:
        return ""
    security = legs[open_legs[0]]
    kind = kind_named(security.keying)
    how = "in clear" if strength(security) == 0 else f"keyed by {kind.words.short if kind else 'others'}"
    return (
        f"call {open_legs[0]} is {how}, and policy demands protection for call {strict[0]}, which "
        "would be heard in it: set security.unprotected_in_conference to allow that"
    )
