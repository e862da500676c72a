"""The media of a group session on its multicast address: frames of G.711 A-law, each 20 ms."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sipmikey.media.endpoint import Address
from sipmikey.media.errors import PacketNotSent, PacketRefused
from sipmikey.media.multicast import multicast_receiver, multicast_sender
from sipmikey.media.rtp import MalformedPacket, RtpPacket, is_rtcp
from sipmikey.media.stream import Sink, Source
from sipmikey.media.talk import SAMPLES, Talk
from sipmikey.mikey.errors import LocalError

_FRAME_S = 0.02
_MOST_AT_ONCE = 100


class GroupMedia:
    """A context manager; entering it raises ``LocalError`` where there is no such interface.

    *heard* returns True where the sender with an SSRC has the floor; *may_talk*, where we have it.

    *source* is played while we have the floor; ``say`` sends a frame that comes from elsewhere, such as a
    microphone. *sink* gets the frames that are heard, one after the other; *ear* gets their packets.
    ``played`` is set at the end of the source. ``sent`` and ``received`` count frames; ``refused`` packets
    that did not verify, or whose sender does not have the floor.
    """

    def __init__(
        self,
        talk: Talk,
        address: Address,
        *,
        interface: str,
        heard: Callable[[int], bool],
        may_talk: Callable[[], bool],
        source: Source | None = None,
        sink: Sink | None = None,
        ear: Callable[[RtpPacket], object] | None = None,
    ) -> None:
        self._talk = talk
        self._address = address
        self._interface = interface
        self._heard = heard
        self._may_talk = may_talk
        self._source = source
        self._sink = sink
        self._ear = ear
        self._due = -1
        self.played = asyncio.Event()
        self.sent = self.received = self.refused = 0

    def __enter__(self) -> Self:
        host, port = self._address
        try:
            with ExitStack() as opened:
                self._receiver = opened.enter_context(multicast_receiver(self._address, self._interface))
                self._sender = opened.enter_context(multicast_sender(self._interface, ipv6=":" in host))
                self._sockets = opened.pop_all()
        except OSError as error:
            kind = "the name" if ":" in host else "an IPv4 address"
            detail = (
                f"no media of {host} port {port} on interface {self._interface!r}: {error.strerror or error}"
            )
            raise LocalError(f"{detail}; --interface takes {kind} of one") from None
        self._receiver.setblocking(False)
        asyncio.get_running_loop().add_reader(self._receiver, self._read)
        self._sending = None if self._source is None else asyncio.ensure_future(self._play(self._source))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sending is not None:
            self._sending.cancel()
        asyncio.get_running_loop().remove_reader(self._receiver)
        self._sockets.close()

    def _read(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                self._take(self._receiver.recv(2048))
            except (BlockingIOError, InterruptedError):
                return

    def _take(self, packet: bytes) -> None:
        if not self._talk.ready or is_rtcp(packet) or packet[8:12] == self._talk.ssrc.to_bytes(4, "big"):
            return
        try:
            opened = self._talk.open(packet)
        except (PacketRefused, MalformedPacket):
            self.refused += 1
            return
        if not self._heard(opened.ssrc):
            self.refused += 1
            return
        if self._sink is not None:
            # Each sender counts from its own start: here one frame follows the other.
            self._sink.put(self.received * SAMPLES, opened.payload)
        if self._ear is not None:
            self._ear(opened)
        self.received += 1

    async def _play(self, source: Source) -> None:
        started = time.monotonic()
        ticks = 0
        while True:
            ticks += 1
            await asyncio.sleep(max(0.0, started + ticks * _FRAME_S - time.monotonic()))
            if not self._may_talk():
                continue
            if (payload := source.next_frame()) is None:
                self.played.set()
            else:
                self.say(payload, ticks * SAMPLES)

    def say(self, payload: bytes, timestamp: int) -> None:
        """Send a frame of G.711 A-law, if we have the floor. *timestamp* counts samples and must grow."""
        if not self._may_talk():
            return
        try:
            packet = self._talk.protect(payload, timestamp, begins=timestamp != self._due)
        except PacketNotSent:
            return  # silent until there is another key
        self._due = timestamp + SAMPLES
        self._transmit(self._sender, packet)

    def _transmit(self, sender: socket.socket, packet: bytes) -> None:
        try:
            sender.sendto(packet, self._address)
        except OSError:
            return  # as a packet that is lost on the way
        self.sent += 1
