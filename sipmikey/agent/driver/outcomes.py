"""The outcomes that a program waits for, by the tokens that the call's machine hands back."""

from __future__ import annotations

import asyncio
import itertools


class Outcomes:
    """In the event loop only: futures by token."""

    def __init__(self) -> None:
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[int]] = {}

    def expect(self) -> tuple[int, asyncio.Future[int]]:
        """Return a new token, and the future of its outcome."""
        token = next(self._tokens)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        future.add_done_callback(lambda done: self._waiting.pop(token, None))
        return token, future

    def settle(self, token: int, outcome: int | BaseException) -> None:
        """Tell the outcome of *token*: a status, or an error."""
        future = self._waiting.get(token)
        if future is None or future.done():
            return
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
            # A program that no longer waits learns of it by the events.
            future.exception()
        else:
            future.set_result(outcome)
