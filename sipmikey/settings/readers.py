"""Readers of single values: from TOML, or from the text of an option or variable.

Each returns the value it read or raises ValueError, whose text says what is needed and completes "key: ".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from sipmikey.mikey.secret import Secret
from sipmikey.settings.toml import nearest

MOST = 2**31 - 1
"""Largest whole number where nothing else bounds it."""


def text(value: object) -> str:
    """Read text that is not empty."""
    found = optional_text(value)
    if not found:
        raise ValueError("must not be empty")
    return found


def optional_text(value: object) -> str:
    """Read text that may be empty."""
    if not isinstance(value, str):
        raise ValueError(f"needs text, not {_kind(value)}")
    if any(ord(character) < 0x20 for character in value):
        raise ValueError("must not hold control characters")
    return value.strip()


def texts(value: object) -> tuple[str, ...]:
    """Read a list of texts; as text, separated by commas."""
    return tuple(text(item) for item in _items(value))


def word(*words: str) -> Callable[[object], str]:
    """Return a reader of one of *words*."""

    def read(value: object) -> str:
        found = text(value)
        if found not in words:
            raise ValueError(f"unknown word {found!r}; {nearest(found, words)}")
        return found

    return read


def words(*allowed: str) -> Callable[[object], tuple[str, ...]]:
    """Return a reader of a list of *allowed* words without repetition; as text, separated by commas."""
    one = word(*allowed)

    def read(value: object) -> tuple[str, ...]:
        chosen = tuple(one(item) for item in _items(value))
        if not chosen or len(set(chosen)) != len(chosen):
            raise ValueError(f"needs one or more of {', '.join(allowed)}, each once")
        return chosen

    return read


def uri(*schemes: str) -> Callable[[object], str]:
    """Return a reader of a URI with one of *schemes*."""

    def read(value: object) -> str:
        found = text(value)
        scheme, colon, rest = found.partition(":")
        if not colon or scheme.lower() not in schemes or not rest or any(c in found for c in ' <>"'):
            raise ValueError(f"{found!r} is not a {' or '.join(schemes)} URI")
        return found

    return read


def boolean(value: object) -> bool:
    """Read true or false; as text, also yes or no."""
    if isinstance(value, bool):
        return value
    spelled = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, str) and value.lower() in spelled:
        return spelled[value.lower()]
    raise ValueError(f"needs true or false, not {value!r}")


def count(least: int, most: int = MOST) -> Callable[[object], int]:
    """Return a reader of a whole number from *least* to *most*."""

    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"needs a whole number from {least} to {most}, not {value!r}")
        return number

    return read


def number(least: float, most: float, unit: str) -> Callable[[object], float]:
    """Return a reader of a number of *unit* between *least* and *most*."""

    def read(value: object) -> float:
        try:
            found = float(value) if isinstance(value, str | int | float) else math.nan
        except (ValueError, OverflowError):
            found = math.nan
        if isinstance(value, bool) or not least <= found <= most:
            raise ValueError(f"needs {unit} between {least:g} and {most:g}, not {value!r}")
        return found

    return read


def seconds(least: float, most: float) -> Callable[[object], float]:
    """Return a reader of a number of seconds between *least* and *most*."""
    return number(least, most, "seconds")


def path(value: object) -> Path:
    """Read the name of a file. `~` is the home directory."""
    return Path(text(value)).expanduser()


def optional_path(value: object) -> Path | None:
    """Read the name of a file, or empty text for none."""
    return path(value) if optional_text(value) else None


def secret(value: object) -> Secret:
    """Read text that is not to be shown."""
    return Secret(text(value).encode())


def endpoint(value: object) -> str:
    """Read `HOST:PORT`, an IPv6 host in brackets; port 0 lets the system choose."""
    found = text(value)
    host, colon, port = found.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"needs HOST:PORT, not {found!r}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"an IPv6 host is written in brackets: [{host}]:{port}")
    return found


def pairs(value: object) -> dict[str, object]:
    """Read a TOML table, or `name=value,name=value` as text."""
    if isinstance(value, dict):
        return value
    found = [text(item).partition("=") for item in _items(value)]
    if not all(equals for _, equals, _ in found):
        raise ValueError("needs a table, or name=value separated by commas")
    return {name.strip(): word.strip() for name, _, word in found}


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"needs a list, not {_kind(value)}")


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), "text" if isinstance(value, str) else type(value).__name__)
