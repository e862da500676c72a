"""`sipmikey load`: many calls to one callee, and how they went."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.cli.load.figures import Limits, MadeCall, document, junit, percentile, verdicts
from sipmikey.testing.kms import TestKms
from sipmikey.testing.program import run
from tests.cli.commands import ALICE, BOB, Command
from tests.cli.commands import command as command
from tests.cli.commands import kms as kms
from tests.cli.commands import kms_server as kms_server

GOOD = [MadeCall(answered_ms=float(ms), proven_ms=ms + 10.0) for ms in range(1, 101)]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_figures_of_calls() -> None:
    told = document(
        [*GOOD, MadeCall(reason="busy"), MadeCall(reason="busy")], seconds=51.0, held_at_once=7, rate=2.0
    )
    assert told["calls"] == 102
    assert told["failed"] == 2
    assert told["reasons"] == {"busy": 2}
    assert told["calls_per_second"] == 2.0
    assert told["answered_ms"] == {
        "min": 1.0,
        "p50": 50.0,
        "p90": 90.0,
        "p95": 95.0,
        "p99": 99.0,
        "max": 100.0,
    }


@pytest.mark.parametrize(
    ("limits", "holds"),
    [
        (Limits(failures=1), [True]),
        (Limits(failures=0), [False]),
        (Limits(failures=1, answered_ms=95.0, proven_ms=104.9), [True, True, False]),
    ],
)
def test_what_has_to_hold(limits: Limits, holds: list[bool]) -> None:
    found = list(verdicts([*GOOD, MadeCall(reason="kms-timeout")], limits))
    assert [verdict.holds for verdict in found] == holds
    suite = ET.fromstring(junit(found, seconds=1.0))
    assert (suite.get("tests"), suite.get("failures")) == (str(len(holds)), str(holds.count(False)))
    assert len(suite.findall("testcase/failure")) == holds.count(False)


def test_where_no_call_was_answered_no_percentile_holds() -> None:
    _, answered = verdicts([MadeCall(reason="busy")], Limits(failures=1, answered_ms=1e9))
    assert (answered.holds, answered.found) == (False, "no call was")


@pytest.mark.processes
def test_calls_are_made_held_and_told(kms: TestKms, tmp_path: Path, command: Callable[..., Command]) -> None:
    def options(identity: str) -> list[str]:
        user = kms.user(identity)
        key = tmp_path / f"{user.psk_id}.psk"
        key.write_text(user.psk)
        return [
            "--json", "--null-audio", "--identity", identity, "--listen", "127.0.0.1:0", "--kms", kms.url,
            "--kms-identity", kms.identity, "--psk-id", user.psk_id, "--psk-file", str(key),
        ]  # fmt: skip

    bob = command("echo", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    words = ["load", BOB, "--via", contact, "--calls", "4", "--rate", "4", "--hold", "0.2", "--at-once", "2"]
    made = run(*words, "--junit", tmp_path / "load.xml", *options(ALICE))
    told = json.loads(made.stdout.splitlines()[-1])
    assert made.returncode == 0, made.stdout + made.stderr
    assert (told["calls"], told["failed"]) == (4, 0)
    assert 1 <= told["held_at_once"] <= 2
    assert told["answered_ms"]["min"] <= told["proven_ms"]["max"]
    assert ET.parse(tmp_path / "load.xml").getroot().get("failures") == "0"
    refused = run("load", BOB, "--registrar", contact, "--calls", "1", *options(ALICE))
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "internal error" not in refused.stderr
    failed = run("load", BOB, "--via", contact, "--calls", "1", "--answered-p95", "0.001", *options(ALICE))
    assert failed.returncode == 1
    assert (
        json.loads(failed.stdout.splitlines()[-1])["holds"]["95 of 100 calls are answered within 0.001 ms"]
        is False
    )
