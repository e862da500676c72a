"""Which peers are installed."""

from __future__ import annotations

import os
import shutil
from typing import Protocol

import pytest

SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))


class Need(Protocol):
    def __call__(self, program: str) -> str: ...


def find(program: str) -> str | None:
    """Path of *program*, looked for in the administrator's directories as well."""
    return shutil.which(program, path=SEARCH_PATH)


def need(program: str) -> str:
    """Path of *program*; skips the running test, naming the remedy, where it is not installed."""
    path = find(program)
    if path is None:
        pytest.skip(f"{program} is not installed: run tools/install-peers")
    return path
