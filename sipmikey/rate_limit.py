"""Rate limits in bounded memory."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable

from sipmikey.mikey.errors import LocalError


class RateLimiter:
    """So many events a second for each key, with bursts (the generic cell rate algorithm of ITU-T I.371).

    ``per_second``: sustained rate, over 0. ``burst``: events admitted at once from rest, 1 or more. ``now``:
    a clock in seconds that never goes back. ``entries``: keys remembered; beyond that the key seen longest
    ago is forgotten, so that memory stays bounded with any number of clients. One number is kept for a key.

    Satisfies `sipmikey.kms.service.Admission`.
    """

    def __init__(
        self, *, per_second: float, burst: int, now: Callable[[], float], entries: int = 100_000
    ) -> None:
        if per_second <= 0 or burst < 1 or entries < 1:
            raise LocalError("a rate limit needs a rate above 0, a burst of 1 or more and 1 entry or more")
        self._interval = 1.0 / per_second
        self._tolerance = self._interval * (burst - 1)
        self._now = now
        self._entries = entries
        self._due: dict[str, float] = {}

    def retry_after(self, key: str) -> float | None:
        """Count one event of *key*; return None to admit it or the seconds to wait, uncounted."""
        now = self._now()
        due = max(self._due.pop(key, now), now)
        wait = due - self._tolerance - now
        if wait > 1e-9:
            self._due[key] = due
            return wait
        self._due[key] = due + self._interval
        if len(self._due) > self._entries:
            del self._due[next(iter(self._due))]
        return None

    def wait(self, key: str) -> float | None:
        """Return what `retry_after` would, and count nothing."""
        now = self._now()
        wait = max(self._due.get(key, now), now) - self._tolerance - now
        return wait if wait > 1e-9 else None

    def __len__(self) -> int:
        return len(self._due)


@functools.lru_cache(maxsize=4096)
def address_key(address: str) -> str:
    """Return what to count *address* under: an IPv4 address itself, of IPv6 its /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
