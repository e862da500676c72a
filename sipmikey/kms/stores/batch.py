"""Writes that share a transaction: what comes in one turn of the event loop is written together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_Waiting = tuple[Item, "asyncio.Future[Result]"]


class Batch(Generic[Item, Result]):
    """Collects items for *write*, which takes at most *size* of them and returns one result for each.

    What arrives while items are being written shares the next call. An error of *write* is raised to everyone
    who waits for it. Without an event loop each item is written alone.
    """

    def __init__(
        self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], *, size: int = 256
    ) -> None:
        self._write = write
        self._size = size
        self._waiting: list[_Waiting[Item, Result]] = []
        self._writing: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Result:
        """Write *item* and return its result."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return (await self._write([item]))[0]
        written: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, written))
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write_all())
        return await written

    async def finish(self) -> None:
        """Return when everything that was put has been written."""
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            try:
                results = await self._write([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - it is raised to those who wait
                for _, written in batch:
                    if not written.done():
                        written.set_exception(error)
                continue
            for (_, written), result in zip(batch, results, strict=True):
                if not written.done():
                    written.set_result(result)
