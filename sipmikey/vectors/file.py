"""Reading vector files, and the parts of a vector, with errors that name what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from sipmikey.mikey.errors import LocalError

Vector = dict[str, object]

FORMATS = ("mikey-ticket-vectors/1", "mikey-ticket-oracle-extra/1")
"""Formats read: exchanges, PRFs and rejects; and single payloads and Error messages."""


def schema() -> str:
    """Return the JSON schema of files of the format ``mikey-ticket-vectors/1``."""
    return (resources.files("sipmikey.vectors") / "schema.json").read_text(encoding="utf-8")


def load(path: Path) -> list[Vector]:
    """Return the vectors of a file; raise `LocalError` for what is not a vector file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise LocalError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") not in FORMATS:
        raise LocalError(f"{path}: format is not {' or '.join(FORMATS)}")
    vectors = document.get("vectors")
    if not isinstance(vectors, list) or not all(isinstance(item, dict) for item in vectors):
        raise LocalError(f"{path}: vectors is not a list of objects")
    return vectors


def exchanges_beside(paths: Sequence[Path]) -> Iterator[Vector]:
    """Yield the exchange vectors of the other files in the directories of *paths*: rejects rest on them."""
    given = {path.resolve() for path in paths}
    for directory in sorted({path.resolve().parent for path in paths}):
        for path in sorted(directory.glob("*.json")):
            if path.resolve() in given:
                continue
            try:
                vectors = load(path)
            except LocalError:
                continue
            yield from (vector for vector in vectors if vector.get("kind") == "exchange")


def part(vector: Vector, name: str) -> Vector:
    """Return an object inside a vector; an absent one is empty."""
    value = vector.get(name, {})
    if not isinstance(value, dict):
        raise LocalError(f"{name} is not an object")
    return value


def text(vector: Vector, name: str, what: str) -> str:
    """Return a string of a vector."""
    value = vector.get(name)
    if not isinstance(value, str):
        raise LocalError(f"{what}: {name} is not a string")
    return value


def number(vector: Vector, name: str, what: str) -> int:
    """Return an integer of a vector."""
    value = vector.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise LocalError(f"{what}: {name} is not an integer")
    return value


def octets(vector: Vector, name: str, what: str) -> bytes:
    """Return octets that a vector has in hexadecimal."""
    try:
        return bytes.fromhex(text(vector, name, what))
    except ValueError as error:
        raise LocalError(f"{what}: {name} is not hexadecimal") from error
