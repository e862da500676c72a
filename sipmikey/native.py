"""Chooses between the core in Python and the native one, a package of its own that may be missing.

A function or class of the core that the native core has too is marked `@native`: where the native core runs
its namesake stands in its place, and takes and gives the same. The native core runs where the package
``sipmikey-native`` is installed and has the interface version named here, unless the environment variable
``SIPMIKEY_PURE`` is set and not empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

INTERFACE = 4
"""Version of what the native core and this package take from one another."""

PURE_VARIABLE = "SIPMIKEY_PURE"

REPLACED: dict[str, Callable[..., Any]] = {}
"""What is marked and not used since the native core runs, by name: for tests that compare the two."""

_Marked = TypeVar("_Marked", bound=Callable[..., Any])


def _find() -> tuple[ModuleType | None, str]:
    """Return the native core, or None, and in words which core runs and why."""
    if os.environ.get(PURE_VARIABLE):
        return None, f"core in Python, as {PURE_VARIABLE} says"
    try:
        import sipmikey_native
    except ImportError:
        return None, "core in Python: sipmikey-native is not installed"
    version, interface = sipmikey_native.__version__, sipmikey_native.INTERFACE
    if interface != INTERFACE:
        return None, f"core in Python: sipmikey-native {version} has interface {interface}, not {INTERFACE}"
    return sipmikey_native, f"native core {version}"


_CORE, _DESCRIPTION = _find()


def description() -> str:
    """Say in a few words which core runs, and why it is not the native one."""
    return _DESCRIPTION


def native(marked: _Marked) -> _Marked:
    """Return what the native core has under the name of *marked*, where it runs; else *marked* itself."""
    if _CORE is None:
        return marked
    REPLACED[marked.__name__] = marked
    namesake: _Marked = getattr(_CORE, marked.__name__)
    return namesake


def native_only(name: str) -> Any:
    """Return what the native core has under *name* and Python has not, or None where it does not run."""
    return None if _CORE is None else getattr(_CORE, name)
