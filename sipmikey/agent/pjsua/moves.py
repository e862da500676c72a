"""The agent's address in descriptions, after it changed while sockets stay open."""

from __future__ import annotations


class Moves:
    """The changes of our address: open sockets stay in use, and descriptions still name the old address."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}

    def went(self, before: str, now: str) -> None:
        """Our IP address changed from *before* to *now*."""
        if before != now:
            self._now = {old: now for old in (*self._now, before) if old != now}

    def describe(self, sdp: str) -> str:
        """Return *sdp* with our present address in place of old ones."""
        for old, now in self._now.items():
            kind = "IP6" if ":" in old else "IP4"
            sdp = sdp.replace(f"IN {kind} {old}\r\n", f"IN {kind} {now}\r\n")
        return sdp
