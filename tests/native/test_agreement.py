"""The two cores agree on what they are given at random, and the native one keeps its secrets."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

sipmikey_native = pytest.importorskip("sipmikey_native", reason="make native builds the native core")

ROOT = Path(__file__).parents[2]
INPUTS = 20_000


@pytest.mark.parametrize("seed", [7, 8])
def test_no_input_tells_the_cores_apart(seed: int) -> None:
    command = [sys.executable, "-m", "tests.native.fuzz", "--count", str(INPUTS), "--seed", str(seed)]
    environment = {name: value for name, value in os.environ.items() if name != "SIPMIKEY_PURE"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{INPUTS} inputs agree" in done.stdout


class TestSecret:
    secret = sipmikey_native.Secret(b"0123456789abcdef")

    def test_shows_nothing(self) -> None:
        assert repr(self.secret) == str(self.secret) == "<Secret 16 bytes>"

    @pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_does_not_leave_the_process(self, leave: object) -> None:
        with pytest.raises(TypeError, match="not pickled"):
            leave(self.secret)  # type: ignore[operator]

    def test_is_equal_by_value(self) -> None:
        assert self.secret == sipmikey_native.Secret(bytearray(b"0123456789abcdef"))
        assert hash(self.secret) == hash(sipmikey_native.Secret(memoryview(b"0123456789abcdef")))
        assert self.secret != sipmikey_native.Secret(b"0123456789abcdeg")
        assert self.secret != b"0123456789abcdef"

    def test_takes_nothing_but_octets(self) -> None:
        with pytest.raises(TypeError):
            sipmikey_native.Secret("text")

    def test_has_no_further_attributes(self) -> None:
        with pytest.raises(AttributeError):
            self.secret.octets = b""
