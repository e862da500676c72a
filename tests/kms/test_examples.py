"""The examples of the KMS run and do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_gba_credentials() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "gba_credentials.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split(": ")[1].split()[:2] for line in lines] == [
        ["200", "granted"],
        ["403", "identity-not-owned"],
        ["401", "unknown-key"],
    ]
