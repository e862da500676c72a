"""Clock, randomness and limits, passed into every exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.mikey.errors import InvalidTimestamp
from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
from sipmikey.mikey.timestamp import Timestamp

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The clock, randomness and limits that the core may use.

    ``now_ns`` gives nanoseconds since 1970 (UTC) and must not give the same value twice, since every
    initial message carries a timestamp of its own; ``random`` gives that many cryptographically strong
    octets; ``clock_skew_s`` is the difference of clocks tolerated, in seconds (RFC 3830 section 5.4).
    ``counter``, where set, makes messages carry COUNTER timestamps instead of NTP-UTC ones.
    """

    now_ns: Callable[[], int]
    random: Callable[[int], bytes]
    limits: Limits = DEFAULT_LIMITS
    clock_skew_s: int = 300
    counter: Callable[[], int] | None = None

    def timestamp(self) -> Timestamp:
        """Return a fresh timestamp for a T payload."""
        if self.counter is not None:
            return Timestamp.counter(self.counter())
        return Timestamp.ntp_utc(self.now_ns())

    def csb_id(self) -> int:
        """Return a random CSB ID of 32 bits."""
        return int.from_bytes(self.random(4), "big")

    def check_timestamp(self, timestamp: Timestamp, what: str) -> None:
        """Raise `InvalidTimestamp` when a clock timestamp is outside the tolerated skew.

        A COUNTER tells no time; the replay cache judges whether it was seen before.
        """
        if not timestamp.is_clock:
            return
        difference = timestamp.unix_ns() - self.now_ns()
        if abs(difference) > self.clock_skew_s * _NS:
            side = "ahead of" if difference > 0 else "behind"
            raise InvalidTimestamp(
                f"{abs(difference) / _NS:.0f} s {side} this clock, {self.clock_skew_s} s are tolerated",
                field=f"{what} T",
                section="RFC 3830 section 5.4",
            )
