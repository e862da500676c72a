"""The embedding examples run, and end as they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.networks import needs_ipv6

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"


def run(*command: str) -> str:
    """Run an example in a process that cannot import pjsua2, and return what it printed."""
    blocker = "import sys; sys.modules['pjsua2'] = None; import runpy; sys.argv = sys.argv[1:]; "
    program = blocker + "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    script, *options = command
    finished = subprocess.run(
        [sys.executable, "-c", program, str(EXAMPLES / script), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize("script", ["offer_answer.py", "udp_call.py", "call_machine.py"])
def test_an_example_ends_with_the_same_keys_on_both_sides(script: str) -> None:
    printed = run(script)
    assert "same keys" in printed
    assert len(set(re.findall(r"key ([0-9a-f]{8})", printed))) >= 2
    assert re.search(r"[0-9a-f]{32}", printed) is None


@needs_ipv6
def test_the_small_user_agents_call_over_ipv6() -> None:
    assert "both agents have the same keys" in run("udp_call.py", "--address", "::1")


def test_a_stripped_invite_ends_with_a_reason() -> None:
    printed = run("udp_call.py", "--hostile")
    assert "488" in printed
    assert "key-mgmt-missing" in printed


def test_the_call_machine_gives_the_call_to_one_of_two_answers() -> None:
    printed = run("call_machine.py")
    assert "alice: fork.committed desk" in printed
    assert "alice: BYE to mobile" in printed
    assert "mobile: over: hangup" in printed


def test_the_call_machine_gives_the_call_to_the_answer_that_verifies() -> None:
    printed = run("call_machine.py", "--tampered")
    assert "alice: fork.abandoned desk: auth-failure" in printed
    assert "alice: fork.committed mobile" in printed
    assert "both sides have the same keys" in printed
