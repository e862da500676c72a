"""`sipmikey setup` and `sipmikey echo`: five answers, checked by a real KMS and a real registrar."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sipmikey.cli.config.load import load
from sipmikey.testing import TestKms, program
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from tests.cli.commands import ALICE, Options, Start
from tests.cli.commands import command as command
from tests.cli.commands import kms as kms
from tests.cli.commands import kms_server as kms_server
from tests.cli.commands import options as options

ECHO = "sip:echo@example.com"

Setup = Callable[..., program.FinishedProgram]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """Run `sipmikey setup` with answers, one a line, where there is no keyring."""

    def run(*answers: str, words: tuple[str, ...] = ()) -> program.FinishedProgram:
        environment = {"SIPMIKEY_TEST_KEYRING": "file"}
        environment |= {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        typed = "".join(f"{answer}\n" for answer in answers)
        return program.run("setup", *words, input=typed, timeout_s=120, environment=environment)

    return run


def test_five_answers_and_the_test_call_is_protected(
    setup: Setup, command: Start, options: Options, kms: TestKms, tmp_path: Path, forking_proxy: Kamailio
) -> None:
    echo = command("echo", *options(ECHO, registrar=forking_proxy.uri))
    echo.until("agent.ready")
    key = kms.user(ALICE)
    done = setup("alice@example.com", kms.url, key.psk, forking_proxy.uri, "", words=("--echo", ECHO))
    assert done.returncode == 0, done.stderr + done.stdout
    assert (
        "The call is protected: sip:kms@example.com vouches that sip:echo@example.com answered" in done.stdout
    )
    path = tmp_path / "config" / "sipmikey" / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert key.psk not in text
    assert 'psk = "keyring:alice@example.com/kms"' in text
    secrets = tmp_path / "data" / "sipmikey" / "secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert str(secrets) in done.stdout
    assert load(path=path).configuration.identity.uri == ALICE
    again = setup("alice@example.com")
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_a_wrong_answer_is_asked_again_and_a_wrong_key_is_told(
    setup: Setup, kms: TestKms, tmp_path: Path
) -> None:
    kms.user(ALICE)
    done = setup("nobody", "alice@example.com", kms.url, "short", "00" * 32)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "a SIP address looks like sip:you@example.com" in done.stdout
    assert "nothing was written" in done.stderr
    assert not (tmp_path / "config").exists()
