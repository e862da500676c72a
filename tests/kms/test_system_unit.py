"""A KMS as a service: the unit is one that systemd takes, and hardened."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from sipmikey.cli.kms.system.unit import account_text, closed_to_others, unit_text
from sipmikey.cli.main import main
from sipmikey.testing.program import COMMAND, Program

INIT = ("kms", "init", "--system", "--identity", "sip:kms@example.com", "--json")


@pytest.fixture
def analyze(tmp_path: Path) -> list[str]:
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    return [program]


def test_init_makes_a_kms_an_account_and_a_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "--root", str(tmp_path)]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["type"] for document in documents] == ["kms.init", "kms.init.system"]
    directory = tmp_path / "etc" / "sipmikey-kms"
    assert (directory / "kms.toml").exists()
    assert 'to = ["subscribers"]' in (directory / "policy.toml").read_text()
    unit = (tmp_path / "etc/systemd/system/sipmikey-kms.service").read_text()
    assert "kms serve --dir /etc/sipmikey-kms\n" in unit
    assert (tmp_path / "etc/sysusers.d/sipmikey-kms.conf").read_text() == account_text(
        Path("/etc/sipmikey-kms")
    )
    (directory / "kms.toml").unlink()
    assert main([*INIT, "--root", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_directory_of_a_service_is_not_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INIT, "--root", str(tmp_path), "--dir", str(tmp_path / "kms")]) == 2
    assert "leave --dir out" in capsys.readouterr().err


def test_a_python_that_the_account_cannot_run_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:  # whose directory, unlike pytest's own, is below an open one
        folder = Path(name)
        folder.chmod(0o755)
        home, pointer = folder / "home", folder / "python"
        home.mkdir(0o755)
        program = home / "python"
        program.touch(0o755)
        pointer.symlink_to(program)
        assert closed_to_others(pointer) is None
        program.chmod(0o750)
        assert closed_to_others(pointer) == program
        program.chmod(0o755)
        home.chmod(0o700)
        assert closed_to_others(pointer) == home


def test_systemd_takes_the_unit(analyze: list[str], tmp_path: Path) -> None:
    unit = tmp_path / "sipmikey-kms.service"
    unit.write_text(unit_text(Path("/etc/sipmikey-kms"), ["0.0.0.0:8443"]))
    done = subprocess.run(
        [*analyze, "verify", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "sipmikey-kms" in line]) == (0, [])


def test_the_unit_leaves_little_to_an_attacker(analyze: list[str], tmp_path: Path) -> None:
    unit = tmp_path / "sipmikey-kms.service"
    unit.write_text(
        unit_text(Path("/etc/sipmikey-kms"), ["0.0.0.0:8443"], program=Path("/opt/sipmikey/bin/python"))
    )
    done = subprocess.run(
        [*analyze, "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-600:] + done.stderr


def test_a_low_port_takes_one_capability_and_odd_paths_are_quoted() -> None:
    assert "CapabilityBoundingSet=\n" in unit_text(Path("/etc/a"), ["127.0.0.1:8043"])
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in unit_text(Path("/etc/a"), ["[::]:443"])
    text = unit_text(Path("/srv/50% of it"), ["127.0.0.1:0"], program=Path("/home/u/bin/python"))
    assert 'ReadWritePaths="/srv/50%% of it"\n' in text
    assert "ProtectHome=read-only\n" in text


def test_the_example_is_the_unit_that_init_writes() -> None:
    example = Path(__file__).parents[2] / "examples" / "deployment" / "sipmikey-kms.service"
    program = Path("/opt/sipmikey/bin/python")
    assert example.read_text() == unit_text(Path("/etc/sipmikey-kms"), ["0.0.0.0:8443"], program=program)


def test_init_says_that_the_account_has_to_read_the_private_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = tmp_path / "kms.pem", tmp_path / "kms.key"
    words = [one for one in INIT if one != "--json"]
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    assert main([*words, "--root", str(tmp_path), *tls]) == 0
    assert f"runuser -u sipmikey-kms -- test -r {key}" in capsys.readouterr().out


@pytest.mark.processes
@pytest.mark.parametrize("workers", [1, 2])
def test_the_service_manager_hears_when_it_serves(workers: int, tmp_path: Path) -> None:
    directory = str(tmp_path / "kms")
    assert main(["kms", "init", "--dir", directory, "--identity", "sip:kms@example.com"]) == 0
    words = ["kms", "serve", "--dir", directory, "--listen", "127.0.0.1:0", "--workers", str(workers)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        with Program(COMMAND, *words, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as program:
            assert manager.recv(100) == b"READY=1"
            program.terminate()
            assert program.wait(60) == 0
