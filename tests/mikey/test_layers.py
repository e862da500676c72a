"""What the checker of the rooms finds, in the package and in small packages with one fault each."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checker() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "check_layers.py"))


def offences(checker: dict[str, Any], root: Path) -> list[str]:
    found = checker["check"](root) + checker["check_rooms"](root)
    return list(found + checker["check_circles"](checker["import_graph"](root)))


def test_the_package_has_no_offence(checker):
    assert offences(checker, ROOT / "sipmikey") == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"mikey/a.py": "import sipmikey.keys.b", "keys/b.py": ""}, "mikey must not import keys"),
        ({"mikey/a.py": "import socket"}, "the core must not import socket"),
        ({"keys/a.py": "from sipmikey import system"}, "the core must not import sipmikey.system"),
        ({"kms/policy/rules.py": "import time"}, "the core must not import time"),
        ({"agent/a.py": "from . import b", "agent/b.py": ""}, "relative import"),
        ({"agent/a.py": "import pjsua2", "agent/b.py": "import pjsua2"}, "pjsua2 is imported by"),
        (
            {"agent/a.py": "from sipmikey.agent import b", "agent/b.py": "from sipmikey.agent.a import c"},
            "circle of imports: sipmikey.agent",
        ),
        (
            {"agent/asyncio_sip/a.py": "from sipmikey.agent.pjsua.b import c", "agent/pjsua/b.py": ""},
            "agent/asyncio_sip/ must not import sipmikey.agent.pjsua.b",
        ),
        ({"agent/a.py": "__all__ = []"}, "delete __all__"),
        ({f"agent/m{number}.py": "" for number in range(21)}, "21 modules, at most 20"),
    ],
)
def test_each_fault_is_found(checker, tmp_path, files, expected):
    root = tmp_path / "sipmikey"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = offences(checker, root)
    assert len(found) == 1
    assert expected in found[0]
