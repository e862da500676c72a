"""Everything that docs/rfc/conformance.md names as evidence exists."""

from __future__ import annotations

import ast
import functools
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rfc" / "conformance.md").read_text(encoding="utf-8")
EVIDENCE = re.compile(r"`(test|vector|reject):([^`]+)`")


@functools.cache
def functions_in(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_what_it_names_exists():
    vectors = {
        (vector["kind"], vector["name"])
        for path in (ROOT / "tests" / "vectors").glob("*.json")
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
    }
    missing = []
    for kind, name in EVIDENCE.findall(PAGE):
        if kind == "test":
            path, _, function = name.partition("::")
            found = function in functions_in(ROOT / path)
        else:
            found = ({"vector": "exchange", "reject": "reject"}[kind], name) in vectors
        if not found:
            missing.append(f"{kind}:{name}")
    assert missing == []
    assert len(EVIDENCE.findall(PAGE)) > 200


def test_every_row_says_where_and_what_shows_it():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| section")]
    assert len(rows) > 150
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 4, row
        assert all(cells), row


def test_code_it_names_exists():
    """Names in backquotes with a file in parentheses behind them stand in that file."""
    missing = []
    for names, path in re.findall(r"((?:`[\w.]+`(?:, )?)+) \((\w+/[\w/]+\.py)\)", PAGE):
        text = (ROOT / "sipmikey" / path).read_text(encoding="utf-8")
        missing += [
            f"{path}: {name}" for name in re.findall(r"[\w.]+", names) if name.split(".")[-1] not in text
        ]
    assert missing == []
