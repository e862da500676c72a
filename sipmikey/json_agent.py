"""`sipmikey agent --json` as a process. Loads nothing, so that it can be started before all else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def start_agent(options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start what makes calls for a face; *options* are those of `sipmikey agent`. Raises ``OSError``."""
    return subprocess.Popen(
        [sys.executable, "-m", "sipmikey.cli", "agent", "--json", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
