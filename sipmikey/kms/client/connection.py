"""One kept HTTP/1.1 connection to a KMS: a request at a time."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from sipmikey.kms.client.errors import KmsBadAnswer
from sipmikey.kms.client.exchange import Answer


class ConnectionBroke(OSError):
    """The connection ended before the answer did. ``kept``: it had carried an answer before."""

    def __init__(self, detail: str, *, kept: bool) -> None:
        super().__init__(detail)
        self.kept = kept


class Connection(asyncio.Protocol):
    """Reads answers with httptools. ``usable``: another request may be sent."""

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        self._answer = Answer()
        self._waiter: asyncio.Future[Answer] | None = None
        self._answers = 0
        self._transport: asyncio.Transport
        self._idle: asyncio.TimerHandle | None = None
        self._ends_with_connection = False

    @property
    def usable(self) -> bool:
        """True while the server has not closed the connection and no answer is due."""
        return self._waiter is None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def exchange(self, octets: bytes) -> Answer:
        """Send a request and return its answer.

        Raises `ConnectionBroke`, or KmsBadAnswer for an answer that is not HTTP or too long. A cancelled
        exchange closes the connection.
        """
        self.keep(None)
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(octets)
        try:
            answer = await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None
        self._answers += 1
        return answer

    def keep(self, seconds: float | None) -> None:
        """Close the connection after *seconds* without a request; None keeps it for now."""
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = None if seconds is None else loop.call_later(seconds, self.close)

    def close(self) -> None:
        """Close the connection."""
        if self._idle is not None:
            self._idle.cancel()
        self._transport.close()

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._parser is None:
            self._transport.close()  # a server sends nothing unless it is asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(KmsBadAnswer("HTTP 101: it wants to speak another protocol than HTTP"))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, KmsBadAnswer) else KmsBadAnswer("the answer is not HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._ends_with_connection and self._answer.status:
            self.on_message_complete()
            return
        detail = str(exc) if exc is not None else "the server closed the connection"
        self._fail(ConnectionBroke(detail, kept=self._answers > 0))

    # The parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._answer.status = self._parser.get_status_code()
        headers = self._answer.headers
        self._ends_with_connection = not {"content-length", "transfer-encoding"} & headers.keys()

    def on_body(self, body: bytes) -> None:
        self._answer.add(body)

    def on_message_complete(self) -> None:
        if 100 <= self._answer.status < 200:  # the real answer follows
            self._answer = Answer()
            return
        if self._waiter is None or self._waiter.done():
            return
        if self._parser is None or not self._parser.should_keep_alive():
            self._transport.close()
        self._waiter.set_result(self._answer)

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._transport.close()
