"""Colours of moods, the same in every face: what is in clear is as loud as what is proven."""

from __future__ import annotations

from types import MappingProxyType

from sipmikey.phone.facts import Mood

COLOURS = MappingProxyType(
    {
        Mood.GOOD: ("#ffffff", "#0b5d1e"),
        Mood.OPEN: ("#000000", "#f2c200"),
        Mood.BAD: ("#ffffff", "#a30000"),
        Mood.PAST: ("#222222", "#d9d9d9"),
    }
)
"""Mood -> (text, ground). Words and shapes say the same, so nobody depends on the colours."""


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, section 1.4.3): 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
