"""uvicorn's HTTP/1.1 protocol with the bounds it lacks.

A request must arrive whole within a time, its head within a size, and there are so many connections at once.
What a client certificate names is put into the ASGI scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sipmikey.kms.server.tls import peer_names

PEER_NAMES: Final = "sipmikey.peer_names"
"""Key of the ASGI scope's extensions: frozenset of the names in the client's verified certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """``request_s``: seconds for a request to arrive whole, from its connection or first octet.

    ``head_bytes``: request line and headers. ``connections``: open at once in one worker. ``idle_s``: seconds
    a connection is kept without a request.
    """

    request_s: float = 10.0
    head_bytes: int = 16_384
    connections: int = 4096
    idle_s: int = 75


class _OneWrite:
    """Gives the transport an answer's head and body together: one system call, one wake-up of the client."""

    __slots__ = ("_loop", "_parts", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self.flush)  # for what is not the last part of an answer
        self._parts.append(data)

    def flush(self) -> None:
        if self._parts:
            self._transport.write(b"".join(self._parts))
            self._parts.clear()

    def close(self) -> None:
        self.flush()
        self._transport.close()


class KmsHttpProtocol(HttpToolsProtocol):
    """One connection. ``rejected`` is called with a word for each that is turned away here."""

    def __init__(
        self,
        *,
        config: Config,
        server_state: ServerState,
        limits: ConnectionLimits,
        rejected: Callable[[str], None],
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state={})
        self._limits = limits
        self._rejected = rejected
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = False
        self._in_message = False
        self._extensions: dict[str, Any] = {}
        self._answers: _OneWrite | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers = _OneWrite(transport, self.loop)
        if len(self.connections) > self._limits.connections:
            self._reject(503, "overload", retry_after=1)
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and (names := peer_names(tls.getpeercert())):
            self._extensions = {PEER_NAMES: names}
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._reject(431, "head-too-large")
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._in_message or not answering:
            self._set_deadline()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        if self._extensions:
            self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        # A cycle writes, closes and asks whether it is closing: no more is needed of a transport.
        self.cycle.transport = self._answers  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        if self._answers is not None:
            self._answers.flush()
        super().on_response_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._head_bytes = 0
        self._clear_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._rejected("bad-http")
        self._clear_deadline()
        super().send_400_response(msg)

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.request_s, self._late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._in_message:
            self._reject(408, "request-too-slow")
        else:
            self.transport.close()

    def _reject(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        """Answer below the application and close; silently if an answer is already under way."""
        self._rejected(reason)
        self._clear_deadline()
        started = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not started:
            wait = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
            self.transport.write(
                f"HTTP/1.1 {status} {_PHRASES[status]}\r\nKMS-Reason: {reason}\r\n{wait}"
                "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
        self.transport.close()


_PHRASES: Final = {
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
