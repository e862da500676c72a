"""The voice of a hand-written peer: RTP and SRTP by `sipmikey.media`, on the port of a `Device`."""

from __future__ import annotations

from pathlib import Path

from sipmikey.media.endpoint import MediaLoop, stamp_arrivals
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames
from sipmikey.sdp import SessionKeys
from tests.interop.lab.peer import Device

PATIENCE_SECONDS = 20.0


class Voice:
    """Says *speech* over and over and records what it hears in *heard*. Nothing flows before `talk`.

    RTCP goes over the same port (RFC 5761). The loop owns the device's socket from now on.
    """

    def __init__(self, loop: MediaLoop, device: Device, speech: Path, heard: Path) -> None:
        self._loop = loop
        stamp_arrivals(device.socket)
        self._recorder = WavRecorder(heard, PCMA)
        self.stream = RtpStream(
            codec=PCMA,
            cname=device.tag,
            source=FrameSource(read_frames(speech, PCMA), loop=True),
            sink=self._recorder,
            rtcp_interval_s=0.5,
        )
        self._port = loop.open(self.stream, device.socket)

    def talk(self, keyed: SessionKeys, to: tuple[str, int]) -> None:
        """Send to the address *to* and receive under the keys of the one m-line of *keyed*."""

        def begin() -> None:
            self.stream.send_with(StreamKey.of(keyed.media[0].send))
            self.stream.receive_with(StreamKey.of(keyed.media[0].receive))
            self._port.send_to(to)

        self._loop.call(begin).result(PATIENCE_SECONDS)

    def heard(self, packets: int) -> None:
        """Wait until that many packets have been decrypted."""
        self._loop.when(lambda: self.stream.received >= packets).result(PATIENCE_SECONDS)

    def stop(self) -> None:
        """End the stream with an RTCP BYE, and the recording."""
        self._loop.shut(self._port).result(PATIENCE_SECONDS)
        self._recorder.close()
