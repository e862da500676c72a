"""What can be wrong with sound devices."""

from __future__ import annotations

from sipmikey.mikey.errors import LocalError


class NoSoundDevice(LocalError):
    """There is no sound device that could be used, or none of the name given."""
