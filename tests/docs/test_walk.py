"""The walk in docs/architecture.md leads through files, classes and functions that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STOPS = re.findall(
    r"^\| `([a-z_/]+\.py): ([\w.]+)` \|", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE
)


def test_the_walk_has_all_its_stops() -> None:
    assert len(STOPS) > 20


@pytest.mark.parametrize(("path", "name"), STOPS, ids=lambda part: part)
def test_a_stop_exists(path: str, name: str) -> None:
    body = ast.parse((ROOT / "sipmikey" / path).read_text("utf-8")).body
    for part in name.split("."):
        found = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == part
        ]
        assert found, f"{path} has no {part} of {name}"
        body = found[0].body
