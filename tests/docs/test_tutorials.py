"""Every command and file of the tutorials, in the order of the page, as somebody types them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.interop.lab.namespace import Namespace, NotPermitted

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "tutorials"
FENCE = re.compile(r"(?ms)^```(\w+)(?: title=\"([\w.-]+)\")?\n(.*?)^```$")
LONGEST_S = 240.0
EXPECTED = {
    "phone": ("PROVEN", "vouches that this is sip:bob@example.com"),
    "administrator": ("kms-backup.tar", "allow"),
    "tester": ("1 passed", "3 passed"),
    "embedder": ("alice talks to sip:bob@example.com, as sip:kms@example.com says",),
}
"""What the terminal shows, by page."""

WAIT = """\
until curl --silent --output /dev/null http://127.0.0.1:8043/; do sleep 0.1; done
"""
"""A reader looks whether the KMS serves; this does it for the test."""


def script(page: Path) -> str:
    """Return the page as a script: files written, commands run; it stops where one fails."""
    parts = ["set -euo pipefail"]
    for language, title, text in FENCE.findall(page.read_text()):
        if title:
            parts.append(f"cat > {title} <<'END-OF-FILE'\n{text}END-OF-FILE")
        else:
            assert language == "sh", f"{page.name}: a block without a name that is not of the terminal"
            parts.append(text + (WAIT if "kms serve &" in text else ""))
    return "\n".join(parts)


@pytest.fixture
def network() -> Iterator[Namespace]:
    """A network of its own, so that the ports of the pages are free."""
    try:
        made = Namespace()
    except NotPermitted as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.mark.interop
@pytest.mark.processes
@pytest.mark.parametrize("name", EXPECTED)
def test_a_tutorial_can_be_followed_to_the_letter(name: str, tmp_path: Path, network: Namespace) -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
    }
    output = tmp_path / "printed.txt"  # not a pipe: what runs in the background would keep it open
    with output.open("wb") as file, network:
        running = subprocess.Popen(
            ["bash", "-c", script(PAGES / f"{name}.md")],
            cwd=tmp_path, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        status = running.wait(LONGEST_S)
    finally:
        with suppress(ProcessLookupError):  # nothing is left in the background
            os.killpg(running.pid, signal.SIGKILL)
    printed = output.read_text(errors="replace")
    assert status == 0, printed
    for words in EXPECTED[name]:
        assert words in printed, printed


def test_every_tutorial_is_tried() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*EXPECTED, "index"}
