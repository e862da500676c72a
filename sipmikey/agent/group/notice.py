"""What happens in a group session, as its parties are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

What = Literal["joined", "left", "refused", "rekeyed", "postponed", "floor", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """*what* happened to *member* (canonical URI).

    ``floor``: *member* may talk now; empty: the floor is free. ``rekeyed``: the group key *number* is in use.
    ``reason`` and ``detail``: why, of ``left``, ``refused``, ``postponed`` (a new key), ``ended``, and of
    ``floor`` where it was taken away (``floor-timeout``, ``floor-taken``).
    """

    what: What
    member: str = ""
    number: int = 0
    reason: str = ""
    detail: str = ""


Tell = Callable[[Notice], None]
