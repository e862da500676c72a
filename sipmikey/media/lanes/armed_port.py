"""What a lane does for a port, and for which port as it was."""

from __future__ import annotations

from typing import Any, Protocol

from sipmikey.media.stream import RtpStream


class LanePort(Protocol):
    """What lanes need of a `MediaPort`."""

    stream: RtpStream
    remote: tuple[str, int] | None
    slot: int
    unsent: int
    error: Exception | None


class ArmedPort:
    """What a lane was armed with."""

    __slots__ = (
        "_receiver",
        "_remote",
        "_sender",
        "_sink",
        "_source",
        "_stream",
        "_types",
        "receives",
        "sends",
    )

    def __init__(
        self, port: LanePort, sender: tuple[Any, ...] | None, receiver: tuple[Any, ...] | None
    ) -> None:
        self._stream = port.stream
        self._remote = port.remote
        self._source = port.stream.source
        self._sink = port.stream.sink
        self._types = _types(port.stream)
        self._sender = sender
        self._receiver = receiver
        self.sends = sender is not None
        self.receives = receiver is not None

    def fits(self, port: LanePort) -> bool:
        """Return whether the port has the address, source, sink and payload types it had."""
        stream = self._stream
        return (
            port.remote is self._remote
            and stream.source is self._source
            and stream.sink is self._sink
            and _types(stream) == self._types
        )

    def follow(self) -> None:
        """Let the stream know the packet indices."""
        self._stream.follow(
            sent=None if self._sender is None else self._sender[0].index,
            received=None if self._receiver is None else self._receiver[0].index,
        )


def _types(stream: RtpStream) -> tuple[int, int | None]:
    return stream.type_heard, stream.event_type_heard
