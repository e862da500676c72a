"""Reading event documents that may lack anything: what is missing or of a wrong type counts as not said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

Document: TypeAlias = Mapping[str, Any]
"""One event as JSON data (docs/events.md, docs/agent-json.md)."""


def text(document: Document, name: str) -> str:
    """Return the text in field *name*, ``""`` when there is none."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def number(document: Document, name: str) -> float:
    """Return the finite number in field *name*, 0.0 when there is none."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        found = float(value)
    except OverflowError:
        return 0.0
    return found if math.isfinite(found) else 0.0


def flag(document: Document, name: str) -> bool:
    """Return True when field *name* is true, and nothing else."""
    return document.get(name) is True


def inner(document: Document, name: str) -> Document | None:
    """Return the object in field *name*, None when there is none."""
    value = document.get(name)
    return value if isinstance(value, Mapping) else None


def texts(document: Document, name: str) -> tuple[str, ...]:
    """Return the texts of the list in field *name*."""
    value = document.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()
