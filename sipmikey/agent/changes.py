"""What this side asks of the peer within a call: hold, resume, refresh, new keys. One at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Finished = Callable[[BaseException | None], None]
"""Told None when the peer agreed, or why it did not."""

MOST_TRIES = 4
"""How often a change that meets one of the peer's (491) is tried before it is given up."""

_OWNER_S, _OTHER_S, _SPAN_S = 2.1, 0.0, 1.9


class Kind(StrEnum):
    """``REFRESH`` offers what is there already, with the codecs now preferred; no key changes."""

    HOLD = "hold"
    RESUME = "resume"
    REFRESH = "refresh"
    REKEY = "rekey"


@dataclass(slots=True, kw_only=True)
class Change:
    """A change under way. ``update``: by UPDATE (RFC 3311) instead of re-INVITE."""

    kind: Kind
    finished: Finished
    update: bool = False
    tries: int = 0


def glare_wait_s(*, call_id_owner: bool, random: int) -> float:
    """Return seconds until a request refused with 491 is tried again (RFC 3261 section 14.1).

    Between 2.1 and 4 s for the side that made the Call-ID, up to 2 s for the other, in steps of 10 ms;
    *random* is any number.
    """
    start = _OWNER_S if call_id_owner else _OTHER_S
    return start + (random % 191) / 190 * _SPAN_S
