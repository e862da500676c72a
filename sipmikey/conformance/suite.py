"""Running requirements one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sipmikey.conformance.requirement import (
    BrokenRequirementError,
    NotTestableError,
    Requirement,
    Result,
)
from sipmikey.mikey.errors import LocalError, PeerError

Subject = TypeVar("Subject")


def select(items: Sequence[Requirement[Subject]], patterns: Iterable[str]) -> list[Requirement[Subject]]:
    """Return the requirements whose name fits one of *patterns* (``*`` for anything); all without patterns.

    Raises `LocalError` for a pattern that fits none.
    """
    chosen: set[str] = set()
    wanted = list(patterns)
    for pattern in wanted:
        expression = re.compile(re.escape(pattern).replace(r"\*", ".*"))
        found = {item.name for item in items if expression.fullmatch(item.name)}
        if not found:
            raise LocalError(f"no requirement is called {pattern!r}; --list names them")
        chosen |= found
    return [item for item in items if not wanted or item.name in chosen]


def run(items: Iterable[Requirement[Subject]], subject: Subject) -> Iterator[Result]:
    """Test each requirement against *subject* and yield its result as it comes."""
    for item in items:
        yield _result(item, subject)


def _result(item: Requirement[Subject], subject: Subject) -> Result:
    try:
        item.probe(subject)
    except BrokenRequirementError as error:
        return _made(item, "broken" if item.level == "must" else "warning", str(error))
    except PeerError as error:
        return _made(item, "broken" if item.level == "must" else "warning", f"{error.reason}: {error}")
    except (NotTestableError, LocalError, OSError) as error:
        return _made(item, "untested", str(error) or type(error).__name__)
    return _made(item, "met", "")


def _made(item: Requirement[Subject], outcome: str, detail: str) -> Result:
    return Result(
        name=item.name,
        side=item.side,
        section=item.section,
        level=item.level,
        text=item.text,
        outcome=outcome,  # type: ignore[arg-type]
        detail=detail,
    )
