"""What ran a benchmark: the Python, how it was built, and what else the machine did."""

from __future__ import annotations

import os
import sys
import sysconfig


def build() -> str:
    """Return the version of this Python, and whether it was built with profile-guided optimisation."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"{sys.version.split()[0]} {'with' if optimised else 'without'} PGO"


def load() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 1)
