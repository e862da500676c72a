"""The core draws no randomness, reads no clock and does no I/O, since it imports nothing that could."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_run_downwards():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "check_layers.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
