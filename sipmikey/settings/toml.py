"""TOML text as tables, and the errors that name a wrong key with what is allowed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sipmikey.mikey.errors import LocalError

MAX_CHARACTERS = 1 << 20
"""Longest TOML text that is read."""


class ConfigurationError(LocalError):
    """The configuration holds an unknown key, an unknown word or a value that cannot be used."""


def nearest(word: str, allowed: Sequence[str]) -> str:
    """Return the text that names *allowed* and the one of them that was probably meant."""
    close = get_close_matches(word, allowed, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed: {', '.join(allowed)}"


def read_text(path: Path) -> str:
    """Return the text of the file at *path*; raise `ConfigurationError`."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    return text


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of TOML *text*; raise `ConfigurationError` saying where it is wrong."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigurationError(f"longer than {MAX_CHARACTERS} characters")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"not TOML: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of the TOML file at *path*; raise `ConfigurationError`, which names the file."""
    text = read_text(path)
    try:
        return parse_toml(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def check_keys(table: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    """Raise `ConfigurationError` for a key of *table* that is not in *allowed*."""
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f"{where}: unknown key {key!r}; {nearest(key, allowed)}")
