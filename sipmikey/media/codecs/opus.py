"""Opus (RFC 6716) in RTP (RFC 7587), by libopus: mono, 16000 samples a second, a clock that counts 48000.

Each packet also holds the frame before it in short (in-band FEC), for a receiver that lost that one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sipmikey.media.codecs.codec import Decoder, Encoder
from sipmikey.mikey.errors import LocalError

try:
    import opuslib_next as opuslib
    import opuslib_next.api.decoder as packets
except ImportError:
    raise
except Exception as error:  # opuslib raises nothing narrower where there is no libopus
    raise LocalError("Opus needs libopus: apt-get install libopus0") from error

_RATE = 16000
_CLOCK_RATE = 48000
_BIT_RATE = 24000
_EXPECTED_LOSS = 10
_LONGEST = _RATE * 120 // 1000
_MOST_TICKS = _CLOCK_RATE * 120 // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opus:
    """A payload may be stereo and of any bandwidth; libopus converts it to mono."""

    name: str = "opus"
    payload_type: int = 96
    clock_rate: int = _CLOCK_RATE
    rate: int = _RATE
    recovers: bool = True

    def encoder(self) -> Encoder:
        """Return the encoder of one more stream."""
        return _Encoder()

    def decoder(self) -> Decoder:
        """Return the decoder of one more stream."""
        return _Decoder()

    def ticks(self, payload: bytes) -> int:
        """Return how long a payload lasts; 0 for one that breaks RFC 6716 section 3.4."""
        if not payload:
            return 0
        try:
            frames = packets.packet_get_nb_frames(payload)
            ticks = int(frames * packets.packet_get_samples_per_frame(payload, _CLOCK_RATE))
        except opuslib.OpusError:
            return 0
        return ticks if ticks <= _MOST_TICKS else 0

    def of_type(self, payload_type: int) -> Opus:
        """Return the codec with another payload type."""
        return replace(self, payload_type=payload_type)


class _Encoder:
    def __init__(self) -> None:
        self._state = opuslib.Encoder(_RATE, 1, opuslib.APPLICATION_VOIP)
        self._state.bitrate = _BIT_RATE
        self._state.inband_fec = 1
        self._state.packet_loss_perc = _EXPECTED_LOSS

    def encode(self, pcm: bytes) -> bytes:
        return bytes(self._state.encode(pcm, len(pcm) // 2))


class _Decoder:
    def __init__(self) -> None:
        self._state = opuslib.Decoder(_RATE, 1)

    def decode(self, payload: bytes) -> bytes:
        if not payload:
            return b""
        try:
            return bytes(self._state.decode(payload, _LONGEST))
        except opuslib.OpusError:
            return b""

    def recover(self, following: bytes | None, samples: int) -> bytes | None:
        try:
            return bytes(self._state.decode(following or b"", samples, decode_fec=bool(following)))
        except opuslib.OpusError:
            return None
