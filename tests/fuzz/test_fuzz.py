"""The targets on their seeds and on many small changes of them; and that a fuzzer finds its way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sipmikey.agent.screening.screen import examine
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, run
from tests.fuzz.torture import ODD, WRONG

CHANGES = 150
ROOT = Path(__file__).parent.parent.parent


def changed(octets: bytes, chance: random.Random) -> bytes:
    """Return *octets* with one to four places changed, cut out, doubled or filled."""
    data = bytearray(octets)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if data:
                data[at % len(data)] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randint(1, 16)]
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 64)]
            case 3:
                data[at:at] = chance.choice((b"\0", b"\xff" * 4, b"<>", b'"', b";,", b"\r\n", b"[]", b":"))
            case _:
                del data[at:]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_changes_of_them_raise_nothing_unexpected(name: str) -> None:
    chance = random.Random(name)
    for seed in seeds(name):
        run(TARGETS[name], seed)
    for _ in range(CHANGES):
        run(TARGETS[name], changed(chance.choice(seeds(name)[:40]), chance))


@pytest.mark.parametrize("what", ODD)
def test_the_screen_lets_pass_what_is_odd_and_legal(what: str) -> None:
    assert examine(ODD[what]).fault is None


@pytest.mark.parametrize("what", WRONG)
def test_the_screen_refuses_what_is_wrong(what: str) -> None:
    assert examine(WRONG[what]).fault is not None


@pytest.mark.long
def test_a_fuzzer_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "3", "screen"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert not result["failed"]
    assert result["executions"] > 100
