"""SIP over a WebSocket to a proxy (RFC 7118): one message a frame, and pings by the WebSocket itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from sipmikey.agent.asyncio_sip.wire.target import Endpoint, Target, shown
from sipmikey.agent.config import Transport
from sipmikey.sip.framing import LONGEST_MESSAGE

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_SUBPROTOCOL: Final = "sip"
_PONG_S: Final = 10.0
_LEAVE_S: Final = 1.0
_LONGEST_QUEUE: Final = 200
"""Messages that may wait for a proxy that does not read; then the WebSocket ends."""


class WebSocketUser(Protocol):
    """What takes the messages of a WebSocket."""

    def note(self, octets: bytes, flow: WebSocketFlow, sent: bool) -> None:
        """A message comes or goes."""

    def received(self, octets: bytes, flow: WebSocketFlow) -> None:
        """A message came."""

    def disconnected(self, flow: WebSocketFlow) -> None:
        """The WebSocket is gone."""


class WebSocketFlow:
    """A WebSocket that we opened. *name*: the host that Via and Contact have (RFC 7118 section 5.2.4)."""

    def __init__(
        self,
        connection: ClientConnection,
        transport: Transport,
        remote: Endpoint,
        name: str,
        user: WebSocketUser,
    ) -> None:
        self._connection = connection
        self._user = user
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_LONGEST_QUEUE)
        self.transport = transport
        self.local: Endpoint = (name, 0)
        self.remote = remote
        self.closed = False

    def send(self, octets: bytes) -> None:
        """Send a message; without a connection it is lost."""
        self._user.note(octets, self, True)
        try:
            self._queue.put_nowait(octets)
        except asyncio.QueueFull:
            self.close()

    def ping(self, *, answered: bool) -> None:
        """Nothing to do: the WebSocket has pings of its own."""

    def close(self) -> None:
        """End the WebSocket at once."""
        self.closed = True
        self._connection.transport.abort()

    async def leave(self) -> None:
        """Close it once what was sent has left, or after a second."""
        with contextlib.suppress(OSError, TimeoutError, _errors()):
            async with asyncio.timeout(_LEAVE_S):
                await self._queue.join()
                await self._connection.close()

    async def run(self) -> None:
        """Send and receive until the WebSocket ends."""
        writing = asyncio.create_task(self._write())
        try:
            with contextlib.suppress(OSError, _errors()):
                async for frame in self._connection:
                    octets = frame.encode() if isinstance(frame, str) else frame
                    if octets.strip(b"\r\n"):
                        self._user.received(octets, self)
        finally:
            self.closed = True
            writing.cancel()
            self._user.disconnected(self)

    async def _write(self) -> None:
        with contextlib.suppress(OSError, _errors()):
            while True:
                octets = await self._queue.get()
                try:
                    await self._connection.send(octets.decode())
                except UnicodeDecodeError:
                    await self._connection.send(octets)
                self._queue.task_done()


def _errors() -> type[Exception]:
    from websockets.exceptions import WebSocketException

    return WebSocketException


async def open_websocket(
    target: Target,
    endpoint: Endpoint,
    path: str,
    *,
    context: ssl.SSLContext | None,
    local: tuple[str, int] | None,
    pause_s: float,
    made: Callable[[ClientConnection], WebSocketFlow],
) -> WebSocketFlow:
    """Open a WebSocket to *endpoint*, an address of *target*. *pause_s*: between pings, 0 for none.

    Raises ``OSError`` where the proxy refuses it or does not speak SIP on it.
    """
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    scheme = "wss" if target.transport is Transport.WSS else "ws"
    try:
        connection = await connect(
            f"{scheme}://{shown((target.host, target.port))}{path}",
            host=endpoint[0], port=endpoint[1], local_addr=local, ssl=context, proxy=None, compression=None,
            subprotocols=[Subprotocol(_SUBPROTOCOL)], max_size=LONGEST_MESSAGE, open_timeout=None,
            ping_interval=pause_s or None, ping_timeout=_PONG_S,
        )  # fmt: skip
    except (_errors(), EOFError) as error:
        raise OSError(f"the WebSocket was refused: {error}") from None
    if connection.subprotocol != _SUBPROTOCOL:
        connection.transport.abort()
        raise OSError("the server does not speak SIP on WebSockets (RFC 7118 section 4.1)")
    return made(connection)
