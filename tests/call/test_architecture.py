"""The walk in docs/architecture.md: every stop exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_STOP = re.compile(r"^\| `([\w/]+\.py): ([\w.]+)` \|", re.MULTILINE)


def names(path: Path) -> set[str]:
    """Return the functions of a module, and the methods of its classes by their qualified names."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        found.add(getattr(node, "name", ""))
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{getattr(inner, 'name', '')}" for inner in node.body}
    return found


def test_every_stop_of_the_walk_exists() -> None:
    stops = _STOP.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(stops) > 15
    missing = [stop for stop in stops if stop[1] not in names(ROOT / "sipmikey" / stop[0])]
    assert not missing
