"""A requirement, how it is tested, and what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Subject = TypeVar("Subject")
Side = Literal["kms", "agent"]
Level = Literal["must", "should"]


class BrokenRequirementError(Exception):
    """The subject does not meet the requirement; the text says how."""


class NotTestableError(Exception):
    """The requirement cannot be tested with what is given; the text says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement(Generic[Subject]):
    """One requirement. ``name`` is stable; ``section`` is that of RFC 6043 unless it names another RFC."""

    name: str
    side: Side
    section: str
    level: Level
    text: str
    probe: Callable[[Subject], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a requirement. A broken one whose level is ``should`` is a ``warning``."""

    name: str
    side: Side
    section: str
    level: Level
    text: str
    outcome: Literal["met", "broken", "warning", "untested"]
    detail: str = ""


class Requirements(Generic[Subject]):
    """The requirements of one side, in the order of the RFC."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.items: list[Requirement[Subject]] = []

    def add(
        self, name: str, section: str, text: str, *, level: Level = "must"
    ) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
        """Return a decorator that makes a probe the test of a requirement."""

        def decorate(probe: Callable[[Subject], None]) -> Callable[[Subject], None]:
            self.items.append(
                Requirement(name=name, side=self.side, section=section, level=level, text=text, probe=probe)
            )
            return probe

        return decorate


def check(condition: object, detail: str) -> None:
    """Raise `BrokenRequirementError` with *detail* unless *condition* holds."""
    if not condition:
        raise BrokenRequirementError(detail)
