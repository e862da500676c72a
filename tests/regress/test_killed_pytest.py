"""Nothing that the test kit starts outlives a pytest that was killed in the middle of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def alive(tag: str) -> list[str]:
    """Command lines of the processes that have *tag* in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"KILLED_TAG={tag}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_pytest_leaves_no_process_behind(number: signal.Signals) -> None:
    tag = f"{os.getpid()}-{int(number)}"
    words = [sys.executable, "-m", "pytest", "-q", "-s", "examples/call_tests", "-p", "no:cacheprovider"]
    run = subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, "KILLED_TAG": tag}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        # The second is a copy of the first: a command of the KMS, or the KMS.
        while sum("sipmikey.testing.preloaded" in line for line in alive(tag)) < 2:
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run.send_signal(number)
        run.wait(20)
        deadline = time.monotonic() + 20
        while (left := alive(tag)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
