"""Names that are imported on first use, so that a program that wants one of them does not load all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any


def on_use(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of *package* (PEP 562). *homes* maps a name to the module that has it."""

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found: object = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find


def on_call(home: str, name: str) -> Callable[..., Any]:
    """Return a function that is *name* of the module *home*, which is imported by the first call."""

    @cache
    def find() -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(import_module(home), name)
        return found

    return lambda *args, **kwargs: find()(*args, **kwargs)
