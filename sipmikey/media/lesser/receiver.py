"""What the receivers of this room share: the count of what they refuse, and that no lane serves them."""

from __future__ import annotations

from collections import Counter

from sipmikey.media.errors import PacketRefused, SrtpError


class LesserReceiver:
    """``ssrc``: of the last packet taken.

    ``failures`` counts refused packets by kind; ``diagnoses`` holds the first refusal of each kind.
    """

    steady = None

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.failures: Counter[SrtpError] = Counter()
        self.diagnoses: dict[SrtpError, PacketRefused] = {}

    def refused(self, error: PacketRefused) -> PacketRefused:
        """Count a packet that is refused, and return the error."""
        self.failures[error.error] += 1
        self.diagnoses.setdefault(error.error, error)
        return error

    def follow(self, index: int) -> None:
        """Nothing else receives packets of this stream."""
