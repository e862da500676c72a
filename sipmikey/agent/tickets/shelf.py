"""Where tickets are kept by name: in memory here, in a sealed file in `sipmikey.agent.tickets.file`."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

MOST = 256
"""Tickets kept at most; the oldest goes first."""


class Shelf(Protocol[T]):
    """Things kept by name. ``drop`` returns whether there was one: of several takers one gets True."""

    def get(self, name: str) -> T | None: ...

    def put(self, name: str, value: T) -> None: ...

    def drop(self, name: str) -> bool: ...


class MemoryShelf(Generic[T]):
    """Implements ``Shelf`` for as long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, T] = {}

    def get(self, name: str) -> T | None:
        """Return what is kept as *name*."""
        return self._kept.get(name)

    def put(self, name: str, value: T) -> None:
        """Keep *value* as *name*, in place of an older value."""
        self._kept.pop(name, None)
        self._kept[name] = value
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def drop(self, name: str) -> bool:
        """Keep *name* no longer."""
        return self._kept.pop(name, None) is not None
