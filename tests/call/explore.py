"""Breadth first through every state of a call, on the real code: copying, comparing by value, searching."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Protocol, TypeVar

_SIMPLE = (str, int, float, bytes, bool, type(None), Enum, BaseException, type)


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


class _Shape(Enum):
    """How a type is copied and compared."""

    VALUE = "value"
    RECORD = "record"
    SEQUENCE = "sequence"
    SET = "set"
    TABLE = "table"
    METHOD = "method"
    THING = "thing"


@functools.cache
def _shape(kind: Any) -> _Shape:
    if issubclass(kind, _SIMPLE) or kind in (FunctionType, BuiltinFunctionType, functools.partial):
        return _Shape.VALUE
    parameters: Any = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        return _Shape.RECORD
    shapes = {
        tuple: _Shape.SEQUENCE, list: _Shape.SEQUENCE, deque: _Shape.SEQUENCE, set: _Shape.SET,
        frozenset: _Shape.SET, dict: _Shape.TABLE, MethodType: _Shape.METHOD,
    }  # fmt: skip
    return shapes.get(kind, _Shape.THING)


@functools.cache
def _names(kind: Any) -> tuple[str, ...] | None:
    """Return the names of the slots of *kind*, None where it has a dict."""
    if dataclasses.is_dataclass(kind) and "__slots__" in vars(kind):
        return tuple(item.name for item in dataclasses.fields(kind))
    return None


def _attributes(thing: Any) -> Iterable[tuple[str, Any]]:
    kind: Any = type(thing)
    names = _names(kind)
    return vars(thing).items() if names is None else [(name, getattr(thing, name)) for name in names]


def clone(thing: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a copy that shares nothing that can change; what is shared within *thing* stays shared."""
    memo = {} if memo is None else memo
    kind: Any = type(thing)
    shape = _shape(kind)
    if shape in (_Shape.VALUE, _Shape.RECORD):
        return thing
    if shape in (_Shape.SEQUENCE, _Shape.SET):
        return kind([clone(item, memo) for item in thing]) if thing else kind()
    if shape is _Shape.TABLE:
        return {name: clone(item, memo) for name, item in thing.items()}
    if id(thing) in memo:
        return memo[id(thing)]
    if shape is _Shape.METHOD:
        return MethodType(thing.__func__, clone(thing.__self__, memo))
    copy = memo[id(thing)] = object.__new__(kind)
    for name, item in _attributes(thing):
        object.__setattr__(copy, name, clone(item, memo))
    return copy


def _name(item: tuple[str, Hashable]) -> str:
    return item[0]


class Comparer:
    """Makes values that can be compared. *names* renames texts; what is of *constant* types never differs."""

    def __init__(self, names: Mapping[str, str], constant: tuple[type, ...]) -> None:
        self._names = names
        self._constant = constant
        self._records: dict[Any, Hashable] = {}

    def value(self, thing: Any, memo: dict[int, int] | None = None) -> Hashable:
        """Return *thing* as a value."""
        memo = {} if memo is None else memo
        kind: Any = type(thing)
        if kind is str:
            return self._text(thing)
        shape = _shape(kind)
        if shape is _Shape.VALUE:
            return (kind, self._text(str(thing))) if isinstance(thing, BaseException) else thing
        if kind in self._constant:
            return None
        if shape is _Shape.RECORD:
            if thing not in self._records:
                items = (self.value(item, memo) for _, item in _attributes(thing))
                self._records[thing] = (kind, *items)
            return self._records[thing]
        if shape is _Shape.SEQUENCE:
            return tuple(self.value(item, memo) for item in thing)
        if shape is _Shape.SET:
            return frozenset(self.value(item, memo) for item in thing)
        if shape is _Shape.TABLE:
            entries = [(self._text(str(name)), self.value(item, memo)) for name, item in thing.items()]
            return tuple(sorted(entries, key=_name))
        if id(thing) in memo:
            return "again", memo[id(thing)]
        memo[id(thing)] = len(memo)
        if shape is _Shape.METHOD:
            return thing.__func__, self.value(thing.__self__, memo)
        return (kind, *(self.value(item, memo) for _, item in _attributes(thing)))

    def _text(self, text: str) -> str:
        if " " not in text:
            return self._names.get(text, text)
        return " ".join(self._names.get(word, word) for word in text.split(" "))


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
    first = key(start)
    seen: dict[Hashable, tuple[Hashable | None, str]] = {first: (None, "")}
    after: dict[Hashable, list[Hashable]] = {}
    ends: set[Hashable] = set()
    waiting: deque[tuple[Hashable, W]] = deque([(first, start)])
    while waiting:
        here, world = waiting.popleft()
        report.states += 1
        after[here] = []
        if is_over(world):
            # What comes too late is tried, and leads nowhere else.
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
                raise Violation(str(error) or repr(error), (*_path(seen, here), name)) from error
            except Exception as error:
                raise Violation(repr(error), (*_path(seen, here), name)) from error
            there = key(following)
            after[here].append(there)
            if there not in seen:
                if len(seen) > most:
                    raise Violation(f"more than {most} states", _path(seen, here))
                seen[there] = here, name
                waiting.append((there, following))
    _check_ways_out(seen, after, ends)
    return report


def _path(seen: dict[Hashable, tuple[Hashable | None, str]], here: Hashable | None) -> tuple[str, ...]:
    names: list[str] = []
    while here is not None:
        here, name = seen[here]
        names.append(name)
    return tuple(reversed(names))[1:]


def _check_ways_out(
    seen: dict[Hashable, tuple[Hashable | None, str]],
    after: dict[Hashable, list[Hashable]],
    ends: set[Hashable],
) -> None:
    """Raise ``Violation`` for a state from which no end can be reached."""
    before: dict[Hashable, list[Hashable]] = {}
    for here, following in after.items():
        for there in following:
            before.setdefault(there, []).append(here)
    reached, waiting = set(ends), list(ends)
    while waiting:
        for here in before.get(waiting.pop(), ()):
            if here not in reached:
                reached.add(here)
                waiting.append(here)
    for here in after:
        if here not in reached:
            raise Violation("no way out of this state", _path(seen, here))
