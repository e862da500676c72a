"""Sound to be sent."""

from __future__ import annotations

import wave
from pathlib import Path


def write_tone(path: Path) -> Path:
    """Write a second of a 1 kHz square wave, 8 kHz, mono, 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((b"\x00\x20" * 4 + b"\x00\xe0" * 4) * 1000)
    return path
