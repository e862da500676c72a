"""The tests that the kit's page and its examples show, as a reader would run them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sipmikey.testing.program import run
from tests.docs.pages import ROOT, blocks

LONGEST_S = 300.0


@pytest.mark.long
@pytest.mark.processes
def test_the_examples_and_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """With shared agents: so they are quick, and each is tried beside others."""
    shutil.copytree(ROOT / "examples" / "call_tests", tmp_path / "suite")
    shown = [
        block.text
        for block in blocks()
        if block.page == "docs/tests/call-tests.md" and block.text.startswith("def test_")
    ]
    assert len(shown) == 4
    (tmp_path / "suite" / "test_page.py").write_text("\n\n\n".join(shown) + "\n")
    done = run(
        "-q", "-p", "no:cacheprovider", "--shared-agents", "--call-artifacts", tmp_path / "kept",
        "-c", "/dev/null", "--rootdir", tmp_path / "suite", tmp_path / "suite",
        entry="pytest:main", timeout_s=LONGEST_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "22 passed" in done.stdout
