"""The RTP sockets of a media loop as lanes of the native core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from sipmikey.media.errors import PacketNotSent, SrtpError
from sipmikey.media.lanes.armed_port import ArmedPort, LanePort
from sipmikey.native import native_only

P = TypeVar("P", bound=LanePort)


class FastLanes(Generic[P]):
    """The RTP sockets of a media loop, each a lane of the native core. Used in the loop's thread only."""

    def __init__(self, lanes: Any) -> None:
        self._lanes = lanes
        self._ports: dict[int, P] = {}
        self._numbers: dict[P, int] = {}
        self._armed: dict[P, ArmedPort] = {}

    def add(self, port: P, descriptor: int) -> None:
        """Read the socket of a port from now on."""
        number = self._lanes.add(descriptor, port.slot)
        self._ports[number], self._numbers[port] = port, number

    def remove(self, port: P) -> None:
        """Read it no more, and let the stream know where its lane has got to."""
        self.disarm(port)
        number = self._numbers.pop(port)
        del self._ports[number]
        self._lanes.remove(number)

    def still_sends(self, port: P) -> bool:
        """Return whether the lane of a port sends; disarm it where the port has changed meanwhile."""
        armed = self._armed.get(port)
        if armed is None:
            return False
        if armed.fits(port):
            return armed.sends
        self.disarm(port)
        return False

    def arm(self, port: P) -> None:
        """Let the lane do what the stream is steady in, and what it does already."""
        number = self._numbers.get(port)
        if number is None:
            return
        stream, armed = port.stream, self._armed.get(port)
        sender = None if port.remote is None else stream.steady_sender
        receiver = stream.steady_receiver
        if armed is not None:
            if (armed.sends, armed.receives) == (sender is not None, receiver is not None):
                return
            self.disarm(port)
        if sender is not None:
            try:
                self._lanes.send_on(number, *sender, port.remote)
            except ValueError:  # a host name: Python looks it up
                sender = None
        if receiver is not None:
            payload_type, kept = stream.type_heard, stream.sink is not None
            self._lanes.receive_on(number, *receiver, payload_type, kept, stream.event_type_heard)
        if sender is not None or receiver is not None:
            self._armed[port] = ArmedPort(port, sender, receiver)

    def disarm(self, port: P) -> None:
        """Leave all to the stream, which goes on where the lane has got to."""
        armed = self._armed.pop(port, None)
        if armed is not None:
            self._lanes.disarm(self._numbers[port])
            armed.follow()

    def disarm_all(self) -> None:
        """Leave every stream to Python: something is about to look at them or to change them."""
        for port in tuple(self._armed):
            self.disarm(port)

    def send(self, slot: int) -> None:
        """Send a frame on every armed lane of a slot."""
        for number, reason in self._lanes.send(slot):
            port = self._ports[number]
            port.unsent += 1
            if reason:
                port.error = OSError(reason, os.strerror(reason))
            else:
                port.error = PacketNotSent(SrtpError.LIBRARY, "the packet could not be protected")

    def read(self, wait_ns: int) -> Iterator[tuple[P, bytes, int]]:
        """Read until there is a packet for Python, or for *wait_ns*; yield (port, packet, arrival)."""
        for number, packet, arrival_ns in self._lanes.read(wait_ns):
            port = self._ports.get(number)
            if port is not None:
                if port in self._armed:
                    self._armed[port].follow()
                yield port, packet, arrival_ns

    def heard(self) -> Iterator[tuple[P, bytes, int]]:
        """Yield (port, payload, RTP timestamp) of what lanes received for a sink."""
        for number, payload, timestamp in self._lanes.heard():
            port = self._ports.get(number)
            if port is not None:
                yield port, payload, timestamp


def fast_lanes() -> FastLanes[Any] | None:
    """Return lanes of the native core, or None where it does not run."""
    made = native_only("Lanes")
    return None if made is None else FastLanes(made())
