"""`sipmikey tickets`: fetched ahead, listed without keys, forgotten; what is wrong is told with its fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.main import main
from sipmikey.testing import TestKms
from tests.cli.commands import ALICE, BOB, kms, kms_server  # noqa: F401 - fixtures

CAROL = "sip:carol@example.com"

Run = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def configuration(kms: TestKms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SIPMIKEY_TEST_KEYRING", "file")
    alice = kms.user(ALICE)
    kms.user(BOB)
    (tmp_path / "psk").write_text(alice.psk)
    (tmp_path / "psk").chmod(0o600)
    path = tmp_path / "alice.toml"
    path.write_text(
        f'[identity]\nuri = "{ALICE}"\n[kms]\nurl = "{kms.url}"\nidentity = "{kms.identity}"\n'
        f'psk_file = "{tmp_path / "psk"}"\npsk_id = "{alice.psk_id}"\n'
        f'[tickets]\nkeep = true\ncontacts = ["{BOB}"]\n'
    )
    return path


@pytest.fixture
def run(configuration: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, list[dict[str, Any]]]:
        code = main(["tickets", *words, "--json", "--config", str(configuration)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_ticket_is_fetched_kept_listed_and_forgotten(run: Run, kms: TestKms, tmp_path: Path) -> None:  # noqa: F811
    code, (fetched,) = run("fetch")
    assert (code, fetched["type"], fetched["peer"]) == (ExitCode.OK, "ticket.fetched", BOB)
    kms.shut()
    assert run("fetch", BOB)[1][0]["ticket"] == fetched["ticket"]
    code, (kept,) = run("list")
    assert (code, kept["type"], kept["direction"], kept["reusable"]) == (0, "ticket.kept", "outgoing", True)
    assert kept["ticket"] == fetched["ticket"]
    assert {path.name for path in (tmp_path / "data" / "sipmikey").iterdir()} == {
        "tickets.db",
        "secrets.json",
    }
    assert run("forget", CAROL)[1][0]["count"] == 0
    assert run("forget", BOB)[1][0]["count"] == 1
    assert run("list") == (ExitCode.OK, [])


def test_another_ticket_is_fetched_where_that_is_asked_for(run: Run) -> None:
    tickets = {run("fetch", *words)[1][0]["ticket"]["ticket"] for words in ((), (), ("--fresh",))}
    assert len(tickets) == 2


def test_one_that_cannot_be_had_is_told_and_the_others_are_fetched(run: Run, configuration: Path) -> None:
    text = configuration.read_text()
    configuration.write_text(text.replace("[tickets]", f'modes = {{ "{CAROL}" = "preshared" }}\n[tickets]'))
    code, lines = run("fetch", CAROL, BOB)
    assert code == ExitCode.PEER_REFUSED
    assert [line["type"] for line in lines] == ["error", "ticket.fetched"]
    assert lines[0]["reason"] == "unknown-key"
    assert CAROL in lines[0]["detail"]


def test_without_the_kms_the_fix_is_named(run: Run, kms: TestKms) -> None:  # noqa: F811
    kms.shut()
    code, (told,) = run("fetch")
    assert (code, told["reason"]) == (ExitCode.KMS, "kms-unreachable")


@pytest.mark.parametrize(
    ("words", "missing"),
    [(("forget",), "--all"), (("fetch",), "tickets.contacts")],
)
def test_what_is_missing_is_named(
    words: tuple[str, ...], missing: str, run: Run, configuration: Path
) -> None:
    text = configuration.read_text()
    configuration.write_text(text.replace(f'contacts = ["{BOB}"]', ""))
    code, (told,) = run(*words)
    assert code == ExitCode.USAGE
    assert missing in told["detail"]


def test_without_a_file_of_tickets_there_is_nothing_to_do(run: Run, configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("keep = true", "keep = false"))
    code, (told,) = run("list")
    assert code == ExitCode.USAGE
    assert "tickets.keep" in told["detail"]


def test_people_read_whom_a_ticket_is_for(
    run: Run, configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("fetch")
    assert main(["tickets", "list", "--config", str(configuration)]) == ExitCode.OK
    assert f"to call {BOB}" in capsys.readouterr().out
