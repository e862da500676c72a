"""Replay protection (RFC 3830 section 5.4, RFC 6043 section 12.4)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Self

from sipmikey.mikey.errors import LimitExceeded, LocalError, ReplayedMessage
from sipmikey.mikey.timestamp import Timestamp

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """The key under which a message is remembered: its sender, timestamp and a hash of all its octets."""

    identity: str
    timestamp: bytes
    digest: bytes

    @classmethod
    def of(cls, identity: str, timestamp: Timestamp, message: bytes) -> Self:
        """Return the key of an authenticated message; the digest has 20 bytes."""
        return cls(identity, timestamp.encode(), hashlib.sha256(message).digest()[:20])


class ReplayCache:
    """Remembers authenticated messages for as long as their timestamps are accepted.

    A message is accepted from ``clock_skew_s`` before to as long after its timestamp, so an entry is kept for
    twice that. A COUNTER has no time: the last value per sender is kept, and must grow. At most
    ``capacity`` entries are held; when they are all still needed, messages are refused rather than
    forgotten.
    """

    def __init__(self, *, clock_skew_s: int, capacity: int = 100_000) -> None:
        if capacity < 1:
            raise LocalError("a replay cache holds at least one entry")
        self._lifetime_ns = 2 * clock_skew_s * _NS
        self._capacity = capacity
        self._entries: OrderedDict[ReplayKey, int] = OrderedDict()
        self._counters: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries) + len(self._counters)

    def add(self, key: ReplayKey, timestamp: Timestamp, now_ns: int) -> None:
        """Remember a message.

        Raises `ReplayedMessage` when it is known, or its COUNTER does not grow; `LimitExceeded` when the
        cache is full.
        """
        self._expire(now_ns)
        if not timestamp.is_clock:
            self._add_counter(key.identity, timestamp.value)
            return
        if key in self._entries:
            raise ReplayedMessage("this message was processed before", section="RFC 3830 section 5.4")
        if len(self) >= self._capacity:
            raise LimitExceeded("the replay cache is full")
        self._entries[key] = now_ns + self._lifetime_ns

    def _add_counter(self, identity: str, value: int) -> None:
        last = self._counters.get(identity)
        if last is not None and value <= last:
            raise ReplayedMessage(f"COUNTER {value} does not follow {last}", field="T")
        if last is None and len(self) >= self._capacity:
            raise LimitExceeded("the replay cache is full")
        self._counters[identity] = value

    def _expire(self, now_ns: int) -> None:
        while self._entries:
            key, expiry = next(iter(self._entries.items()))
            if expiry > now_ns:
                return
            del self._entries[key]
