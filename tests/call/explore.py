"""Breadth first through every state of a call, on the real code: copying, comparing by value, searching."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tests.call.values import clone

W = TypeVar("W", bound="World")


class Violation(AssertionError):
    """An invariant does not hold after the inputs of ``path``."""

    def __init__(self, what: str, path: tuple[str, ...]) -> None:
        super().__init__(f"{what}\n  after: " + "\n         ".join(path))
        self.what = what
        self.path = path


class World(Protocol):
    """A machine and what is around it. ``moves``: what may happen next, each by its name."""

    def moves(self) -> Iterator[tuple[str, Callable[[Any], None]]]: ...

    def check(self) -> None:
        """Raise ``AssertionError`` where an invariant does not hold."""

    def parts(self) -> object:
        """Return what makes this state differ from another."""


@dataclass(slots=True)
class Report:
    """What was found. ``names``: how often each move was made."""

    states: int = 0
    transitions: int = 0
    over: int = 0
    names: dict[str, int] = field(default_factory=dict)


def explore(
    start: W,
    key: Callable[[W], Hashable],
    *,
    is_over: Callable[[W], bool],
    most: int = 200_000,
) -> Report:
    """Make every move in every state once. Raises ``Violation``, with the shortest way to it."""
    report = Report()
    numbers: dict[Hashable, int] = {key(start): 0}
    came: list[tuple[int, str]] = [(0, "")]
    after: list[list[int]] = [[]]
    ends: set[int] = set()
    waiting: deque[tuple[int, W]] = deque([(0, start)])
    while waiting:
        here, world = waiting.popleft()
        report.states += 1
        if is_over(world):
            # What comes too late is tried by the world itself, and leads nowhere else.
            report.over += 1
            ends.add(here)
            continue
        for name, move in world.moves():
            following = clone(world)
            report.transitions += 1
            report.names[name] = report.names.get(name, 0) + 1
            try:
                move(following)
                following.check()
            except AssertionError as error:
                raise Violation(str(error) or repr(error), (*_path(came, here), name)) from error
            except Exception as error:
                raise Violation(repr(error), (*_path(came, here), name)) from error
            there = numbers.setdefault(key(following), len(came))
            after[here].append(there)
            if there == len(came):
                if there > most:
                    raise Violation(f"more than {most} states", _path(came, here))
                came.append((here, name))
                after.append([])
                waiting.append((there, following))
    _check_ways_out(came, after, ends)
    return report


def _path(came: list[tuple[int, str]], here: int) -> tuple[str, ...]:
    """Return the moves that led to a state. *came*: for each, the state before it and the move."""
    names: list[str] = []
    while here:
        here, name = came[here]
        names.append(name)
    return tuple(reversed(names))


def _check_ways_out(came: list[tuple[int, str]], after: list[list[int]], ends: set[int]) -> None:
    """Raise ``Violation`` for a state from which no end can be reached."""
    before: list[list[int]] = [[] for _ in after]
    for here, following in enumerate(after):
        for there in following:
            before[there].append(here)
    reached, waiting = set(ends), list(ends)
    while waiting:
        for here in before[waiting.pop()]:
            if here not in reached:
                reached.add(here)
                waiting.append(here)
    for here in range(len(after)):
        if here not in reached:
            raise Violation("no way out of this state", _path(came, here))
