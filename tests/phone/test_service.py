"""`sipmikey answer` as a service: what systemd is told, and that it takes the unit."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from sipmikey.testing import TestKms
from sipmikey.testing.program import COMMAND, Program
from tests.phone.agents import settings

UNIT = Path(__file__).parents[2] / "examples" / "phone" / "sipmikey-answer.service"
WAIT_S = 60


def test_it_says_when_calls_can_be_taken(tmp_path: Path) -> None:
    kms = TestKms(tmp_path)
    kms.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WAIT_S)
        words = ["answer", "--auto", "--json", *settings(kms, tmp_path, "sip:alice@example.com")]
        program = Program(COMMAND, *words, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        try:
            assert manager.recv(100) == b"READY=1"
            program.terminate()
            assert program.wait(WAIT_S) == 0
        finally:
            program.kill()
            program.wait()
            program.close()
            kms.stop()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "sipmikey"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("%h/.local/bin/sipmikey", str(program)))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert UNIT.name not in done.stderr, done.stderr
