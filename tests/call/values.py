"""Machines as values: copied so that nothing is shared, and compared by what they hold."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from sipmikey.call.keying.keying import KeyingKind

_SIMPLE = (str, int, float, bytes, bool, type(None), Enum, BaseException, type, KeyingKind)
_FUNCTIONS = (FunctionType, BuiltinFunctionType, functools.partial)

Memo = dict[int, Any]
Copier = Callable[[Any, Memo], Any]


def _is_record(kind: type) -> bool:
    """Return whether objects of *kind* never change: frozen dataclasses."""
    parameters: Any = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def _is_simple(kind: type) -> bool:
    return issubclass(kind, _SIMPLE) or kind in _FUNCTIONS


def _slots(kind: Any) -> tuple[str, ...] | None:
    """Return the names of the slots of *kind*, None where it has a dict."""
    if is_dataclass(kind) and "__slots__" in vars(kind):
        return tuple(field.name for field in fields(kind))
    return None


# Copying


_constant: set[type] = set()
"""Types whose objects are shared with a copy, since nothing changes them."""

_copiers: dict[type, Copier] = {}


def clone(thing: Any, memo: Memo | None = None) -> Any:
    """Return a copy that shares nothing that can change; what is shared within *thing* stays shared."""
    kind = type(thing)
    if kind in _constant:
        return thing
    copier = _copiers.get(kind)
    if copier is None:
        if _is_simple(kind) or _is_record(kind):
            _constant.add(kind)
            return thing
        copier = _copiers[kind] = _copier(kind)
    return copier(thing, {} if memo is None else memo)


def _copier(kind: Any) -> Copier:
    if kind is tuple:
        return _copy_tuple
    if kind in (list, deque, set, frozenset):
        return lambda thing, memo: kind([clone(item, memo) for item in thing]) if thing else kind()
    if kind is dict:
        return lambda thing, memo: {name: clone(item, memo) for name, item in thing.items()}
    if kind is MethodType:
        return lambda thing, memo: MethodType(thing.__func__, clone(thing.__self__, memo))
    names = _slots(kind)
    return _copy_object if names is None else functools.partial(_copy_slots, names)


def _copy_tuple(thing: tuple[Any, ...], memo: Memo) -> tuple[Any, ...]:
    for item in thing:
        if type(item) not in _constant:
            return tuple([clone(item, memo) for item in thing])
    return thing


def _copy_object(thing: Any, memo: Memo) -> Any:
    if (copy := memo.get(id(thing))) is not None:
        return copy
    copy = memo[id(thing)] = object.__new__(type(thing))
    # Most attributes need no call: this is where an exploration spends its time.
    copy.__dict__.update(
        {
            name: item if type(item) in _constant else clone(item, memo)
            for name, item in thing.__dict__.items()
        }
    )
    return copy


def _copy_slots(names: tuple[str, ...], thing: Any, memo: Memo) -> Any:
    if (copy := memo.get(id(thing))) is not None:
        return copy
    copy = memo[id(thing)] = object.__new__(type(thing))
    for name in names:
        item = getattr(thing, name)
        object.__setattr__(copy, name, item if type(item) in _constant else clone(item, memo))
    return copy


# Comparing


class _Texts(dict[str, str]):
    """Texts as they are compared: each word renamed."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, text: str) -> str:
        self[text] = " ".join(self._names.get(word, word) for word in text.split(" "))
        return self[text]


def _name(item: tuple[str, Hashable]) -> str:
    return item[0]


Evaluator = Callable[[Any, Memo], Hashable]


class Comparer:
    """Makes values that can be compared. *names* renames texts; what is of *constant* types never differs."""

    def __init__(self, names: Mapping[str, str], constant: tuple[type, ...]) -> None:
        self._texts = _Texts(names)
        self._records: dict[Any, Hashable] = {}
        self._plain: set[type] = set()
        self._evaluators: dict[type, Evaluator] = {str: lambda text, memo: self._texts[text]}
        self._evaluators.update({kind: lambda thing, memo: None for kind in constant})

    def value(self, thing: Any, memo: Memo | None = None) -> Hashable:
        """Return *thing* as a value."""
        kind = type(thing)
        if kind in self._plain:
            return thing  # type: ignore[no-any-return]
        evaluator = self._evaluators.get(kind)
        if evaluator is None:
            if _is_simple(kind) and not issubclass(kind, BaseException):
                self._plain.add(kind)
                return thing  # type: ignore[no-any-return]
            evaluator = self._evaluators[kind] = self._evaluator(kind)
        return evaluator(thing, {} if memo is None else memo)

    def _evaluator(self, kind: Any) -> Evaluator:
        if issubclass(kind, BaseException):
            return lambda thing, memo: (kind, self._texts[str(thing)])
        if _is_record(kind):
            return self._record
        if kind in (tuple, list, deque):
            return lambda thing, memo: tuple([self.value(item, memo) for item in thing])
        if kind in (set, frozenset):
            return lambda thing, memo: frozenset([self.value(item, memo) for item in thing])
        if kind is dict:
            return self._table
        if kind is MethodType:
            return lambda thing, memo: (thing.__func__, self.value(thing.__self__, memo))
        names = _slots(kind)
        return self._object if names is None else functools.partial(self._slotted, names)

    def _record(self, thing: Any, memo: Memo) -> Hashable:
        if (known := self._records.get(thing)) is None:
            kind = type(thing)
            names = _slots(kind)
            items = vars(thing).values() if names is None else [getattr(thing, name) for name in names]
            known = self._records[thing] = (kind, *[self.value(item, memo) for item in items])
        return known

    def _table(self, thing: Any, memo: Memo) -> Hashable:
        entries = [(self._texts[str(name)], self.value(item, memo)) for name, item in thing.items()]
        return tuple(sorted(entries, key=_name) if len(entries) > 1 else entries)

    def _object(self, thing: Any, memo: Memo) -> Hashable:
        if (number := memo.get(id(thing))) is not None:
            return "again", number
        memo[id(thing)] = len(memo)
        plain = self._plain
        items = [item if type(item) in plain else self.value(item, memo) for item in thing.__dict__.values()]
        return type(thing), tuple(items)

    def _slotted(self, names: tuple[str, ...], thing: Any, memo: Memo) -> Hashable:
        if (number := memo.get(id(thing))) is not None:
            return "again", number
        memo[id(thing)] = len(memo)
        return type(thing), tuple([self.value(getattr(thing, name), memo) for name in names])
