"""Frozen dataclasses as JSON, and back by their type hints: what two processes say to each other.

Only what the types name is accepted; the data never names a type. Octets and secrets are base64.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.secret import Secret

Converter = Callable[[Any], Any]


class CodecError(SipmikeyError):
    """A document that is not what its type says."""


def dump(hint: object, value: object) -> Any:
    """Return *value*, of the type *hint*, as JSON data."""
    return _converters(hint)[0](value)


def load(hint: object, data: Any) -> Any:
    """Return the value of the type *hint* that *data* stands for. Raises ``CodecError``."""
    try:
        return _converters(hint)[1](data)
    except (TypeError, ValueError, LookupError, LocalError) as error:
        raise CodecError(f"not a {getattr(hint, '__name__', hint)}: {type(error).__name__}") from None


@functools.cache
def _converters(hint: Any) -> tuple[Converter, Converter]:
    """Return what dumps and what loads values of *hint*."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is frozenset:
        dump_one, load_one = _converters(arguments[0])
        return (
            lambda value: [dump_one(one) for one in value],
            lambda data: frozenset(load_one(one) for one in _exact(list, data)),
        )
    if origin is Mapping:
        return _mapping(*arguments)
    if origin is typing.Literal:
        return _same, functools.partial(_one_of, arguments)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    return _plain(hint)


def _plain(hint: Any) -> tuple[Converter, Converter]:
    if hint in (str, int, bool):
        return _same, functools.partial(_exact, hint)
    if hint is float:
        return float, lambda data: float(_exact((int, float), data))
    if hint in (None, types.NoneType):
        return _same, functools.partial(_exact, types.NoneType)
    if hint is bytes:
        return _base64, base64.b64decode
    if hint is Secret:
        return lambda value: _base64(value.reveal()), lambda data: Secret(base64.b64decode(data))
    if hint is Path:
        return str, lambda data: Path(_exact(str, data))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: value.value, hint
    return _no_form(hint)


def _no_form(hint: Any) -> tuple[Converter, Converter]:
    """Refuse a value that has no form, such as a private key: only None may be sent in its place."""

    def refuse(value: Any) -> Any:
        raise CodecError(f"no form for {hint}")

    return refuse, refuse


def _optional(arguments: tuple[Any, ...]) -> tuple[Converter, Converter]:
    inner = [one for one in arguments if one is not types.NoneType]
    if len(inner) != 1:
        return _one_kind_of(arguments)
    dump_one, load_one = _converters(inner[0])
    return (
        lambda value: None if value is None else dump_one(value),
        lambda data: None if data is None else load_one(data),
    )


def _one_kind_of(kinds: tuple[Any, ...]) -> tuple[Converter, Converter]:
    """Convert a value of one of several dataclasses; the name of its class goes with it."""
    if not all(dataclasses.is_dataclass(kind) for kind in kinds):
        return _no_form(kinds)
    names = {kind.__name__: kind for kind in kinds}
    return (
        lambda value: [type(value).__name__, dump(type(value), value)],
        lambda data: load(names[_exact(list, data)[0]], data[1]),
    )


def _tuple(arguments: tuple[Any, ...]) -> tuple[Converter, Converter]:
    if arguments[-1:] == (Ellipsis,):
        dump_one, load_one = _converters(arguments[0])
        return (
            lambda value: [dump_one(one) for one in value],
            lambda data: tuple(load_one(one) for one in _exact(list, data)),
        )
    dumps, loads = zip(*(_converters(one) for one in arguments), strict=True)
    return (
        lambda value: [write(one) for write, one in zip(dumps, value, strict=True)],
        lambda data: tuple(read(one) for read, one in zip(loads, _exact(list, data), strict=True)),
    )


def _mapping(key: Any, value: Any) -> tuple[Converter, Converter]:
    (dump_key, load_key), (dump_value, load_value) = _converters(key), _converters(value)
    return (
        lambda mapping: {dump_key(name): dump_value(one) for name, one in mapping.items()},
        lambda data: {load_key(name): load_value(one) for name, one in _exact(dict, data).items()},
    )


def _dataclass(kind: Any) -> tuple[Converter, Converter]:
    @functools.cache
    def pairs() -> list[tuple[str, tuple[Converter, Converter]]]:
        # On first use: what is never sent may name types that are not loaded.
        hints = typing.get_type_hints(kind)
        return [(field.name, _converters(hints[field.name])) for field in dataclasses.fields(kind)]

    return (
        lambda value: [write(getattr(value, name)) for name, (write, _) in pairs()],
        lambda data: kind(
            **{name: read(one) for (name, (_, read)), one in zip(pairs(), _exact(list, data), strict=True)}
        ),
    )


def _same(value: Any) -> Any:
    return value


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _exact(kind: Any, data: Any) -> Any:
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise TypeError(kind)
    return data


def _one_of(allowed: tuple[Any, ...], data: Any) -> Any:
    if data not in allowed:
        raise ValueError(data)
    return data
