"""The listeners to an agent's events. In the event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sipmikey.call.events import Event


class Listeners:
    """Each has a queue of its own, so that none waits for another."""

    def __init__(self) -> None:
        self._queues: list[asyncio.Queue[Event | None]] = []

    def listen(self) -> AsyncIterator[Event]:
        """Iterate over everything that is published from now on, until `close`."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._queues.append(queue)
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[Event | None]) -> AsyncIterator[Event]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._queues.remove(queue)

    def publish(self, event: Event) -> None:
        """Give *event* to every listener."""
        for queue in self._queues:
            queue.put_nowait(event)

    def close(self) -> None:
        """End the iteration of every listener."""
        for queue in self._queues:
            queue.put_nowait(None)
