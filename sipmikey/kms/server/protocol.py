"""HTTP/1.1 on one connection: httptools reads it, and every quantity has a bound.

A request must arrive whole within a time, its head and its body within a size, and the number of connections
is limited. The application judges the head before the body is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from sipmikey.kms.server.proxy import TrustedProxies
from sipmikey.kms.server.tls import peer_names
from sipmikey.rate_limit import address_key

Header = tuple[bytes, bytes]

LINGER_S = 2.0
"""How long a client may go on sending a body that was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """``request_s``: seconds for a request to arrive whole, from its connection or first octet.

    ``head_bytes``: request line and headers. ``connections``: open at once in one worker, of which one source
    may have ``of_one_source``, 0 for all. ``idle_s``: seconds a connection is kept without a request.
    """

    request_s: float = 10.0
    head_bytes: int = 16_384
    connections: int = 4096
    of_one_source: int = 0
    idle_s: int = 75


@dataclass(slots=True)
class RequestHead:
    """Request line and headers. ``headers``: names in lower case. ``source``: the client's address.

    ``peer_names``: names in the client's verified certificate.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: list[Header]
    source: str
    peer_names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. ``headers``: Content-Length, Date and Connection are added. ``close``: the last here."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    close: bool = False


class Application(Protocol):
    """What answers requests. ``body_bytes``: the largest body it takes."""

    body_bytes: int

    def refuse(self, head: RequestHead) -> Response | None:
        """Return the answer to a request whose head suffices to refuse it, else None."""

    def too_large(self) -> Response:
        """Return the answer to a body over ``body_bytes``."""

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer a whole request. Must not raise."""


class Rejections(Protocol):
    """What counts requests that no application saw."""

    def rejected(self, reason: str) -> None:
        """Count one, by a word of a closed set."""


@dataclass(slots=True)
class Connections:
    """The connections of a worker.

    ``of_source``: how many each source has. ``pending``: requests that were not refused by their head and
    have no answer yet, whole or not. ``stopping``: each answer is the last on its connection.
    """

    open: set[HttpConnection] = field(default_factory=set)
    pending: int = 0
    stopping: bool = False
    of_source: Counter[str] = field(default_factory=Counter)

    def add(self, connection: HttpConnection, source: str, limits: ConnectionLimits) -> bool:
        """Take up *connection*, which comes from *source*; return whether there is room for it."""
        self.open.add(connection)
        self.of_source[source] += 1
        few = not limits.of_one_source or self.of_source[source] <= limits.of_one_source
        return few and not self.stopping and len(self.open) <= limits.connections

    def remove(self, connection: HttpConnection, source: str) -> None:
        """Let go of *connection*."""
        self.open.discard(connection)
        self.of_source[source] -= 1
        if self.of_source[source] <= 0:
            del self.of_source[source]

    def stop(self) -> None:
        """Close idle connections now and the others after the answer they wait for."""
        self.stopping = True
        for connection in tuple(self.open):
            connection.stop()


@dataclass(slots=True)
class _Request:
    head: RequestHead
    keep_alive: bool
    refusal: Response | None
    body: bytearray = field(default_factory=bytearray)
    pending: bool = False


class HttpConnection(asyncio.Protocol):
    """One connection to *application*. Requests that are pipelined are answered in their order.

    *reason_header*: name of the header that says why a request was rejected before the application saw it.
    """

    def __init__(
        self,
        application: Application,
        connections: Connections,
        *,
        limits: ConnectionLimits,
        metrics: Rejections,
        proxies: TrustedProxies | None = None,
        reason_header: bytes = b"kms-reason",
    ) -> None:
        self._application = application
        self._connections = connections
        self._limits = limits
        self._metrics = metrics
        self._proxies = proxies
        self._reason_header = reason_header
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._source = ""
        self._peer_names: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._target = b""
        self._headers: list[Header] = []
        # Of one request, with what frames its chunks; head, body and trailers come to no more.
        self._most = limits.head_bytes + 2 * application.body_bytes
        self._octets = 0
        self._in_head = self._in_message = self._upgraded = self._deaf = False
        self._request: _Request | None = None
        self._waiting: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._source = peer[0] if isinstance(peer, tuple) else ""
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._peer_names = peer_names(tls.getpeercert())
        if not self._connections.add(self, address_key(self._source), self._limits):
            self._reject(503, "overload", (b"retry-after", b"1"))
            return
        self._expect(self._limits.request_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self, address_key(self._source))
        self._expect(None)
        self._drop_waiting()
        if self._request is not None:
            self._forget(self._request)
        if self._in_message:
            self._metrics.rejected("client-gone")
        # An answer in the making is finished: its event is in the audit log even if the client is gone.

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._transport.is_closing():
            return
        self._octets += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_upgrade()
        except httptools.HttpParserError:
            if not self._deaf and not self._transport.is_closing():
                self._reject(400, "bad-http")
            return
        if self._deaf or self._transport.is_closing():
            return
        if self._in_head and self._octets > self._limits.head_bytes:
            self._reject(431, "head-too-large")
        elif self._in_message and self._octets > self._most:
            self._reject(413, "limit-exceeded")
        elif self._timer is None and self._in_message and not self._waiting:
            self._expect(self._limits.request_s)

    # The parser's side

    def on_message_begin(self) -> None:
        if self._timer is not None and not self._in_message:
            self._expect(self._limits.request_s)  # instead of the time a connection may be idle
        self._in_head = self._in_message = True
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer comes after the head was judged
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        head = self._head()
        refusal = self._application.refuse(head)
        if refusal is None and _declared_length(head) > self._application.body_bytes:
            refusal = self._application.too_large()
        self._request = request = _Request(head, self._parser.should_keep_alive(), refusal)
        if refusal is not None:
            if refusal.close or _awaits_word(head):
                self._refuse_early(request, refusal)
            return
        request.pending = True
        self._connections.pending += 1
        if _awaits_word(head) and self._task is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        request = self._request
        assert request is not None
        if request.refusal is not None:
            return
        request.body += body
        if len(request.body) > self._application.body_bytes:
            request.refusal, request.body = self._application.too_large(), bytearray()
            self._forget(request)
            self._refuse_early(request, request.refusal)

    def on_message_complete(self) -> None:
        request = self._request
        self._in_message = False
        self._octets = 0
        if request is None or self._deaf or self._transport.is_closing():
            return
        self._request = None
        self._expect(None)
        if self._task is not None:
            self._waiting.append(request)
            self._transport.pause_reading()
        else:
            self._answer(request)

    # Answers

    def _head(self) -> RequestHead:
        target = httptools.parse_url(self._target)
        source = self._source
        if self._proxies is not None:
            source = self._proxies.client(source, self._headers)
        return RequestHead(
            self._parser.get_method(),
            target.path or b"",
            target.query or b"",
            self._headers,
            source,
            self._peer_names,
        )

    def _refuse_early(self, request: _Request, refusal: Response) -> None:
        """Answer before the body is whole, unless other answers are due first. It is the last answer here."""
        request.keep_alive = False
        if self._task is None and not self._waiting and not self._transport.is_closing():
            self._write(refusal, request, keep_alive=False)
            self._linger()

    def _linger(self) -> None:
        """Close later. Closing with octets unread would reset the connection under the answer."""
        self._deaf = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._expect(LINGER_S)

    def _end_after_upgrade(self) -> None:
        """Read no further: only HTTP/1.1 is spoken here. The request itself is answered as any other."""
        self._upgraded = True
        if self._task is None:
            self._transport.close()

    def _answer(self, request: _Request) -> None:
        if request.refusal is not None:
            self._send(request.refusal, request)
            self._next()
            return
        self._task = self._loop.create_task(self._answered(request))

    async def _answered(self, request: _Request) -> None:
        try:
            response = await self._application.answer(request.head, bytes(request.body))
        finally:
            self._forget(request)
            self._task = None
        if not self._transport.is_closing():
            self._send(response, request)
            self._next()

    def _send(self, response: Response, request: _Request) -> None:
        """Send *response*, and close the connection if it is the last here."""
        last = response.close or self._upgraded or self._connections.stopping
        keep_alive = request.keep_alive and not last
        self._write(response, request, keep_alive=keep_alive)
        if not keep_alive:
            self._drop_waiting()
            self._expect(None)
            self._transport.close()

    def _write(self, response: Response, request: _Request, *, keep_alive: bool) -> None:
        body = response.body
        lines = [_STATUS_LINES[response.status], _date(), b"content-length: %d\r\n" % len(body)]
        lines += [b"%b: %b\r\n" % header for header in response.headers]
        lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        if request.head.method != b"HEAD":
            lines.append(body)
        self._transport.write(b"".join(lines))

    def _next(self) -> None:
        """Take up the next request, or wait for one."""
        if self._transport.is_closing():
            return
        if self._waiting:
            self._answer(self._waiting.popleft())
            return
        if self._task is None:
            self._transport.resume_reading()
            if self._timer is None:
                self._expect(self._limits.request_s if self._in_message else self._limits.idle_s)

    def _forget(self, request: _Request) -> None:
        """Count *request* as pending no more."""
        if request.pending:
            request.pending = False
            self._connections.pending -= 1

    def _drop_waiting(self) -> None:
        for request in self._waiting:
            self._forget(request)
        self._waiting.clear()

    def stop(self) -> None:
        """Close the connection when its answer was sent; now if none is awaited."""
        if self._task is None and not self._in_message:
            self._transport.close()

    # Bounds

    def _expect(self, seconds: float | None) -> None:
        """Give the client *seconds* from now; None stops the time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._late)

    def _late(self) -> None:
        self._timer = None
        if self._in_message and not self._deaf:
            self._reject(408, "request-too-slow")
        else:
            self._transport.close()

    def _reject(self, status: int, reason: str, *headers: Header) -> None:
        """Answer below the application and close; silently if an answer is already due."""
        self._metrics.rejected(reason)
        self._expect(None)
        self._drop_waiting()
        if self._task is None:
            told = b"%b: %b\r\n" % (self._reason_header, reason.encode())
            lines = [_STATUS_LINES[status], told, b"content-length: 0\r\n"]
            lines += [b"%b: %b\r\n" % header for header in headers]
            self._transport.write(b"".join((*lines, b"connection: close\r\n\r\n")))
            if status in (400, 413):
                self._linger()
                return
        self._transport.close()


def _declared_length(head: RequestHead) -> int:
    """Return Content-Length, 0 where none is given; the parser has checked that it is a number."""
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)


def _awaits_word(head: RequestHead) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in head.headers)


_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}

_dates: dict[int, bytes] = {}


def _date() -> bytes:
    """Return the Date header of this second."""
    now = int(time.time())
    line = _dates.get(now)
    if line is None:
        _dates.clear()
        line = _dates[now] = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
    return line
