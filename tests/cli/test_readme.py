"""The README says what the programs do."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from sipmikey.cli.config.command import reference
from sipmikey.cli.config.load import load
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.config import reference as kms_reference
from sipmikey.cli.mailbox.command import reference as mailbox_reference
from sipmikey.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_the_settings_are_those_of_the_code() -> None:
    assert reference() in README, "paste the output of `sipmikey config reference`"


def test_the_settings_of_the_kms_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "kms-configuration.md").read_text()
    assert kms_reference() in page, "paste the output of `sipmikey kms config reference`"


def test_the_settings_of_the_mailbox_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "deferred.md").read_text()
    assert mailbox_reference() in page, "paste the output of `sipmikey mailbox config reference`"


def test_the_exit_codes_are_those_of_the_code() -> None:
    for code in ExitCode:
        assert f"| {code.value} | {code.meaning} |" in README


def test_every_command_is_told_of() -> None:
    for name in COMMANDS:
        assert f"`sipmikey {name}" in README


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for folder in re.findall(r"`(examples/\w+)`", README):
        assert (ROOT / folder).is_dir(), folder


def test_bobs_configuration_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = README.partition("**Bob** waits.")[2].partition("and then")[0]
    toml = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    assert set(tomllib.loads(toml)) == {"identity", "kms", "sip"}
    file = tmp_path / "bob.toml"
    file.write_text(toml)
    assert load(path=file, environment={}).configuration.sip.listen == "127.0.0.1:5070"


def test_the_options_shown_exist(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.strip() for line in README.splitlines() if line.startswith("    sipmikey ")]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)[1:]
        depth = 3 if words[:2] == ["kms", "user"] else 2 if words[0] == "kms" else 1
        assert main([*words[:depth], "--help"]) == 0
        text = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in text, f"{option} of: {line}"
