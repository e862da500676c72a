"""How long what arrives may wait before it is heard."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.errors import LocalError

_LEAST_MS = 40
_MOST_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class JitterSettings:
    """``least_ms``, ``most_ms``: between these the buffer finds by itself how long what the peer says waits,
    from the beginning of a packet to when it is heard. 40 is what two clocks that move frames of 20 ms need.
    """

    least_ms: int = 50
    most_ms: int = 200

    def __post_init__(self) -> None:
        if not _LEAST_MS <= self.least_ms <= self.most_ms <= _MOST_MS:
            raise LocalError(
                f"jitter buffer: {_LEAST_MS} <= least <= most <= {_MOST_MS} milliseconds, not"
                f" {self.least_ms} and {self.most_ms}"
            )
