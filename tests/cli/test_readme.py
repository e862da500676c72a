"""The README and the pages say what the programs do."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from sipmikey.call.reasons import Reason
from sipmikey.cli.config.command import reference
from sipmikey.cli.config.load import load
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.config import reference as kms_reference
from sipmikey.cli.mailbox.command import reference as mailbox_reference
from sipmikey.cli.main import COMMANDS, main
from tools.list_licences import dependencies

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
LONGEST_README = 180


def test_the_settings_are_those_of_the_code() -> None:
    page = (DOCS / "configuration.md").read_text()
    assert reference() in page, "paste the output of `sipmikey config reference`"


def test_the_settings_of_the_kms_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "kms" / "configuration.md").read_text()
    assert kms_reference() in page, "paste the output of `sipmikey kms config reference`"


def test_the_settings_of_the_mailbox_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "deferred.md").read_text()
    assert mailbox_reference() in page, "paste the output of `sipmikey mailbox config reference`"


def test_the_exit_codes_are_those_of_the_code() -> None:
    page = (DOCS / "commands.md").read_text()
    for code in ExitCode:
        assert f"| {code.value} | {code.meaning} |" in page


def test_every_reason_has_something_to_do_about_it() -> None:
    page = (DOCS / "user" / "troubleshooting.md").read_text().partition("## By reason")[2]
    named = [
        word for row in re.findall(r"(?m)^\| (`.*?) \|", page) for word in re.findall(r"`([a-z-]+)`", row)
    ]
    assert sorted(named) == sorted(Reason)


def test_every_command_is_told_of() -> None:
    page = (DOCS / "commands.md").read_text()
    for name in COMMANDS:
        assert f"`sipmikey {name}" in page


def test_the_licence_of_every_dependency_is_listed() -> None:
    page = (DOCS / "licences.md").read_text()
    listed = re.findall(r"(?m)^\| ([\w.-]+) \| ([^|]+) \|", page.partition("|---|")[2])
    assert sorted(name for name, _ in listed) == sorted({name for name, _ in dependencies()})
    assert not [name for name, licence in listed if licence in ("not installed here", "see the package")]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST_README


def headings(page: Path) -> set[str]:
    """Return what links to *page* may have behind `#`, as the hosts of repositories make it of headings."""
    lines = re.sub(r"(?ms)^```.*?^```", "", page.read_text()).splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for link, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), link
        assert not anchor or target.suffix != ".md" or anchor in headings(target), f"{link}#{anchor}"
    for folder in re.findall(r"`(examples/\w+)`", text):
        assert (ROOT / folder).is_dir(), folder


def test_every_page_is_reached_from_the_readme() -> None:
    waiting, reached = [ROOT / "README.md"], set[Path]()
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", page.read_text())
        waiting += [page.parent / link for link in links]
    assert {page for page in PAGES if page.resolve() not in reached} == set()


def test_bobs_configuration_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = README.partition("**Bob** waits.")[2].partition("and then")[0]
    toml = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    assert set(tomllib.loads(toml)) == {"identity", "kms", "sip"}
    file = tmp_path / "bob.toml"
    file.write_text(toml)
    assert load(path=file, environment={}).configuration.sip.listen == "127.0.0.1:5070"


def test_the_options_shown_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = README + (DOCS / "commands.md").read_text() + (DOCS / "installing.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    sipmikey ")]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)[1:]
        depth = 3 if words[:2] == ["kms", "user"] else 2 if words[0] == "kms" else 1
        assert main([*words[:depth], "--help"]) == 0
        text = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in text, f"{option} of: {line}"
