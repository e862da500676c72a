"""Which core runs: the native one where it is installed and fits, unless the environment refuses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = "from sipmikey import native; from sipmikey.mikey.message import parse_message; \
print(native.description()); print(type(parse_message).__name__)"


def shown(path: Path | None = None, **environment: str) -> list[str]:
    """Return what a new process says: the description, and the type of a marked function."""
    places = [str(path)] if path is not None else []
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*places, str(ROOT)])} | environment
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, env=env)
    return done.stdout.splitlines()


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A directory with a native core of another interface version."""
    (tmp_path / "sipmikey_native.py").write_text("INTERFACE = 0\n__version__ = '9.9.9'\n", encoding="utf-8")
    return tmp_path


def test_the_environment_refuses_the_native_core() -> None:
    assert shown(SIPMIKEY_PURE="1") == ["core in Python, as SIPMIKEY_PURE says", "function"]


def test_another_interface_version_is_not_used(fake: Path) -> None:
    description, kind = shown(fake, SIPMIKEY_PURE="")
    assert description.startswith("core in Python: sipmikey-native 9.9.9 has interface 0, not ")
    assert kind == "function"


def test_a_missing_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "sipmikey_native.py").write_text("raise ImportError", encoding="utf-8")
    assert shown(tmp_path, SIPMIKEY_PURE="") == [
        "core in Python: sipmikey-native is not installed",
        "function",
    ]


def test_the_native_core_is_used() -> None:
    native = pytest.importorskip("sipmikey_native", reason="make native builds the native core")
    assert shown(SIPMIKEY_PURE="") == [f"native core {native.__version__}", "builtin_function_or_method"]


def test_the_command_says_which_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sipmikey.cli.main", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"SIPMIKEY_PURE": "1"},
    )
    assert done.stdout.rstrip().endswith("(core in Python, as SIPMIKEY_PURE says)")
