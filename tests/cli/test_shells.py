"""Completion and manual pages come from the parsers of `--help`, and the shells and man take them."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from sipmikey.cli.main import COMMANDS
from sipmikey.cli.phone.manual import manual_pages
from sipmikey.cli.phone.shells import bash, fish, words, zsh
from sipmikey.cli.tree import command_tree

EXAMPLES = Path(__file__).parents[2] / "examples" / "phone"
FOUND = tuple(words(command_tree()))


def test_every_command_and_its_options_are_there() -> None:
    by_path = {one.path: one for one in FOUND}
    assert {name for name, _ in by_path[()].commands} == set(COMMANDS)
    assert "--via" in {name for name, *_ in by_path["call",].options}
    assert ("kms", "user", "add") in by_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sipmikey pho", {"phone"}),
        ("sipmikey phone --tu", {"--tui"}),
        ("sipmikey kms user a", {"add"}),
        ("sipmikey answer --aut", {"--auto"}),
        ("sipmikey completion f", {"fish"}),
        ("sipmikey call --config phone --leave", {"--leave-message"}),
        ("sipmikey demo --suite 2", {"256"}),
    ],
)
def test_bash_completes(line: str, expected: set[str]) -> None:
    asked = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in asked)
    asking = f"COMP_WORDS=({quoted}); COMP_CWORD={len(asked) - 1}; _sipmikey; echo ${{COMPREPLY[@]}}"
    script = f"{bash(FOUND)}\n{asking}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize(("shell", "make"), [("zsh", zsh), ("fish", fish)])
def test_other_shells_take_theirs(shell: str, make: object, tmp_path: Path) -> None:
    assert callable(make)
    path = tmp_path / shell
    path.write_text(make(FOUND))
    assert "rekey" not in path.read_text().split("\n")[0]
    for name in COMMANDS:
        assert name in path.read_text()
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n", str(path)], check=True)


def test_man_takes_every_page(tmp_path: Path) -> None:
    pages = dict(manual_pages(command_tree(), "sipmikey"))
    assert {f"sipmikey-{name}" for name in COMMANDS} <= set(pages)
    assert "\\fB\\-\\-tui\\fR" in pages["sipmikey-phone"]
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    for page in pages.values():
        done = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True, check=True
        )
        assert "error" not in done.stderr


def test_the_desktop_file_opens_links_and_the_unit_starts_the_phone() -> None:
    desktop = configparser.ConfigParser(interpolation=None, strict=False)
    desktop.read(EXAMPLES / "sipmikey.desktop", encoding="utf-8")
    entry = desktop["Desktop Entry"]
    assert entry["Exec"] == "sipmikey phone %u"
    assert {"x-scheme-handler/sip", "x-scheme-handler/tel"} <= set(entry["MimeType"].split(";"))
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read(EXAMPLES / "sipmikey-answer.service", encoding="utf-8")
    assert unit["Service"]["ExecStart"].endswith("sipmikey answer --auto")
