"""A stream as a party of the room where the sound devices are."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.media.codecs.codec import Codec
from sipmikey.media.voice.ear import Ear
from sipmikey.media.voice.mouth import Mouth
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.sound.samples import Samples


class StreamParty:
    """Speaks what the stream receives (``ear`` is to be its sink), and has *say* send what it hears.

    *say* is given payloads of 20 ms, in the thread of the room; nothing while ``muted``. Implements
    `sipmikey.sound.room.Party`.
    """

    def __init__(
        self, codec: Codec, *, rate: int, settings: JitterSettings, say: Callable[[bytes], object]
    ) -> None:
        self.ear = Ear(codec, rate=rate, settings=settings)
        self.muted = False
        self._mouth = Mouth(codec, rate=rate, say=say)

    def speak(self, count: int) -> Samples:
        """Return the next *count* samples of the peer."""
        return self.ear.read(count)

    def listen(self, samples: Samples) -> None:
        """Send samples to the peer."""
        if not self.muted:
            self._mouth.take(samples)
