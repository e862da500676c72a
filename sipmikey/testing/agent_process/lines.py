"""The lines that go to and from the process of an agent: one JSON document each."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

LONGEST_LINE = 1 << 20
Fields = dict[str, Any]


def say(fields: Mapping[str, Any]) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()
