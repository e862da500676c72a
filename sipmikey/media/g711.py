"""G.711 (PCMU and PCMA, RFC 3551 section 4.5.14) and the sample conversions around it.

The octet conversions are CPython's audioop: in the standard library up to 3.12, as the package audioop-lts
under the same name from 3.13 on. It is C code of the same maintainers in both, and has the resampler and
mixer that a WAV of another format needs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

from sipmikey.media.codecs.codec import Decoder, Encoder
from sipmikey.mikey.errors import LocalError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

RATE = 8000
"""Samples per second of G.711."""

_WIDTH = 2
_PCM_MAX_WIDTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class G711:
    """One of the two laws: one octet a sample. ``silence`` is the octet of sample value 0."""

    name: str
    payload_type: int
    silence: int
    clock_rate: int = RATE
    rate: int = RATE
    recovers: bool = False

    @property
    def _mu_law(self) -> bool:
        return self.name == "PCMU"

    def encode(self, pcm: bytes) -> bytes:
        """Return one octet for each 16-bit native-endian sample."""
        return audioop.lin2ulaw(pcm, _WIDTH) if self._mu_law else audioop.lin2alaw(pcm, _WIDTH)

    def decode(self, octets: bytes) -> bytes:
        """Return 16-bit native-endian samples."""
        return audioop.ulaw2lin(octets, _WIDTH) if self._mu_law else audioop.alaw2lin(octets, _WIDTH)

    def recover(self, following: bytes | None, samples: int) -> bytes | None:
        """Return None: the law has no concealment of its own."""
        return None

    def encoder(self) -> Encoder:
        """Return itself: the laws have no state."""
        return self

    def decoder(self) -> Decoder:
        """Return itself."""
        return self

    def ticks(self, payload: bytes) -> int:
        """Return how long a payload lasts."""
        return len(payload)

    def of_type(self, payload_type: int) -> G711:
        """Return the codec with another payload type."""
        return replace(self, payload_type=payload_type)


PCMU = G711(name="PCMU", payload_type=0, silence=0xFF)
PCMA = G711(name="PCMA", payload_type=8, silence=0xD5)


def to_mono(pcm: bytes, *, width: int, channels: int, rate: int, wanted: int = RATE) -> bytes:
    """Return 16-bit mono samples at *wanted* Hz from linear samples of *width* bytes, 1 or 2 channels."""
    if not 1 <= width <= _PCM_MAX_WIDTH or channels not in (1, 2) or rate <= 0:
        raise LocalError(f"cannot convert {channels} channels of {width}-byte samples at {rate} Hz")
    if width == 1:
        pcm = audioop.bias(pcm, 1, 128)  # WAV has 8-bit samples unsigned
    if width != _WIDTH:
        pcm = audioop.lin2lin(pcm, width, _WIDTH)
    if channels == 2:
        pcm = audioop.tomono(pcm, _WIDTH, 0.5, 0.5)
    if rate != wanted:
        pcm = RateConverter(rate, wanted).convert(pcm)
    return pcm


class RateConverter:
    """Brings 16-bit mono samples from *rate* to *wanted* Hz, each block going on where the last one ended."""

    __slots__ = ("_rate", "_state", "_wanted")

    def __init__(self, rate: int, wanted: int) -> None:
        self._rate, self._wanted = rate, wanted
        self._state: tuple[int, tuple[tuple[int, int], ...]] | None = None

    def convert(self, pcm: bytes) -> bytes:
        """Return a block of samples at the other rate."""
        converted, self._state = audioop.ratecv(pcm, _WIDTH, 1, self._rate, self._wanted, self._state)
        return converted
