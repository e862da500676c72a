"""The command itself: help, exit codes, missing extras, and bugs that must not show keys."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from types import ModuleType

import pytest

from sipmikey.call.reasons import Family
from sipmikey.cli import main as command
from sipmikey.cli.exit_codes import ExitCode, for_end
from sipmikey.cli.output import jsonable
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

KEY = b"this key must not be seen"


def install(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `sipmikey decode` a command that raises *error* with a key in its frame."""
    module = ModuleType("fake_command")

    def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        subparsers.add_parser("decode").add_argument("--json", action="store_true")

    def run(args: argparse.Namespace) -> int:
        key = KEY
        assert key
        raise error

    module.add_parser = add_parser  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setitem(command.COMMANDS, "decode", ("fake_command", ""))


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in command.COMMANDS:
        assert f"  {name} " in text.replace("\n", " ")
    for code in ExitCode:
        assert f"{code.value:>3}  {code.meaning}" in text


@pytest.mark.parametrize(
    "words", [[], ["no-such-command"], ["config"], ["config", "show", "--no-such-option"]]
)
def test_usage_errors_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == ExitCode.USAGE
    assert "usage:" in capsys.readouterr().err


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, ModuleNotFoundError("No module named 'pjsua2'", name="pjsua2"))
    assert command.main(["decode"]) == ExitCode.USAGE
    assert "pip install 'sipmikey[pjsua2]'" in capsys.readouterr().err


def test_commands_load_without_the_optional_packages() -> None:
    """The command line and `config` run where no extra is installed."""
    script = (
        "import sys\n"
        "for name in ('pjsua2', '_pjsua2', 'pylibsrtp', 'audioop', 'aiohttp', 'httptools', 'uvloop'):\n"
        "    sys.modules[name] = None\n"
        "import sipmikey.agent, sipmikey.media.wav\n"
        "from sipmikey.cli.main import main\n"
        "sys.exit(main(['config', 'show']) or main(['--help']))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_unexpected_error_exits_with_70_and_shows_no_values(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIPMIKEY_DEBUG", debug)
    install(monkeypatch, RuntimeError(f"bad key {KEY!r}"))
    assert command.main(["decode", "--json"]) == ExitCode.INTERNAL
    shown = capsys.readouterr()
    assert KEY.decode() not in shown.out + shown.err
    assert "RuntimeError" in shown.err
    assert ("in run" in shown.err) is bool(debug)
    document = json.loads(shown.out)
    assert (document["reason"], document["exit_code"]) == ("internal", 70)


def test_misuse_exits_with_2_and_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, LocalError("suite 512 does not exist"))
    assert command.main(["decode"]) == ExitCode.USAGE
    assert "suite 512 does not exist" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, KeyboardInterrupt())
    assert command.main(["decode"]) == ExitCode.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_every_family_of_reasons_has_an_exit_code() -> None:
    assert {family: for_end(family, "local") for family in Family} == {
        Family.ENDED: 0,
        Family.SIP: 1,
        Family.TRANSPORT: 3,
        Family.KMS: 4,
        Family.KEYING: 5,
        Family.NO_KEYING: 6,
        Family.MEDIA: 7,
        Family.TIMEOUT: 8,
        Family.INTERNAL: 70,
    }


def test_json_never_holds_a_secret() -> None:
    value = jsonable(
        {"key": Secret(KEY), "raw": [b"\x01\xff"], "set": frozenset({1}), "code": ExitCode.MEDIA}
    )
    assert KEY.decode() not in json.dumps(value)
    assert KEY.hex() not in json.dumps(value)
    assert value == {"key": f"secret:{Secret(KEY).fingerprint()}", "raw": ["01ff"], "set": [1], "code": 7}


@pytest.mark.parametrize(
    ("doing", "spared"),
    [
        ("from sipmikey.cli.main import main; main(['--version'])", "sipmikey.mikey cryptography asyncio"),
        (
            "from sipmikey.cli.main import main; main(['decode', 'AQAg'])",
            "sipmikey.kms sipmikey.cli.kms sipmikey.agent sipmikey.call sipmikey.phone asyncio sqlite3 ssl",
        ),
        (
            "from sipmikey.cli.main import main; main(['answer', '--help'])",
            "sipmikey.kms.service sipmikey.kms.stores sipmikey.agent.pjsua sipmikey.agent.python_media"
            " sipmikey.agent.asyncio_sip sipmikey.agent.isolation.messages pjsua2 numpy textual PySide6",
        ),
        (
            "import sipmikey.agent.isolation.messages, sipmikey.agent.stack",
            "sipmikey.call.events sipmikey.call.inputs sipmikey.call.outputs sipmikey.call.machine"
            " sipmikey.agent.tickets sipmikey.agent.agent sipmikey.sdp.document asyncio sqlite3",
        ),
    ],
    ids=["the version", "decode", "answer", "the process of the stack"],
)
def test_a_start_loads_nothing_that_it_does_not_need(doing: str, spared: str) -> None:
    script = (
        f"import sys\n{doing}\nspared = {spared.split()}\n"
        "print([name for name in sys.modules for one in spared if f'{name}.'.startswith(f'{one}.')])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"
