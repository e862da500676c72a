"""Every command of docs/kms/deployment.md, chapter by chapter, in a scratch directory; and its examples."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sipmikey.mikey.secret import Secret
from sipmikey.ticket import PreSharedKey
from tests.kms.http.serving import ALICE, BOB, Site, Subscriber, serving
from tests.kms.servers import PostgresCluster

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "kms" / "deployment.md"
EXAMPLES = ROOT / "examples" / "deployment"
LIMIT_S = 150.0


def script_of(chapter: str) -> str:
    """Return the `sh` blocks of a chapter as one script."""
    text = GUIDE.read_text(encoding="utf-8")
    start = text.index(f"\n## {chapter}\n")
    end = text.find("\n## ", start + 1)
    blocks = re.findall(r"^```sh\n(.*?)^```$", text[start:end], re.DOTALL | re.MULTILINE)
    assert blocks
    return "\n".join(blocks)


def free_ports(count: int) -> list[str]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def run(script: str, directory: Path, **variables: str) -> str:
    """Run *script* with the `sipmikey` of this environment first in PATH; return what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
    output = directory / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=directory,
            env={**os.environ, "PATH": path, **variables},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=LIMIT_S)
        finally:
            # Whatever the script did not stop itself.
            try:
                os.killpg(process.pid, signal.SIGKILL)
                leftover = True
            except ProcessLookupError:
                leftover = False
            process.wait()
    text = output.read_text(errors="replace")
    assert code == 0, text
    assert not leftover or _gone(process.pid), f"the guide leaves processes behind: {text}"
    return text


def _gone(group: int) -> bool:
    """Return whether nothing of a process group is left, waiting a little for the system to see it."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_one_machine(tmp_path: Path) -> None:
    port, metrics = free_ports(2)
    text = run(script_of("One machine"), tmp_path, KMS=str(tmp_path / "kms"), PORT=port, METRICS_PORT=metrics)
    assert "granted in" in text
    assert 'sipmikey_kms_requests_total{exchange="resolve",status="200"} 1.0' in text
    assert "allowed by rule within the company" in text
    assert "resolve  granted  sip:alice@example.com" in text


@pytest.mark.interop
@pytest.mark.long
def test_three_workers(postgres: PostgresCluster, tmp_path: Path) -> None:
    missing = [name for name in ("nginx", "redis-server") if shutil.which(name, path=_path()) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    port, first, second, third, redis = free_ports(5)
    text = run(
        script_of("Three workers behind nginx, with PostgreSQL and Redis"),
        tmp_path,
        KMS=str(tmp_path / "kms"),
        EXAMPLES=str(EXAMPLES),
        DATABASE=postgres.database(),
        PORT=port,
        PORT_1=first,
        PORT_2=second,
        PORT_3=third,
        REDIS_PORT=redis,
    )
    assert text.count("granted in") == 5
    assert "configuration file" in text
    assert "test is successful" in text


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin"])


def test_the_files_the_guide_names_are_there() -> None:
    text = GUIDE.read_text(encoding="utf-8") + (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"examples/deployment/([\w.-]+)", text) + re.findall(
        r"^\| `([\w.-]+)`", text, re.M
    ):
        if "." in name:
            assert (EXAMPLES / name).is_file(), name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_valid(tmp_path: Path) -> None:
    unit = (EXAMPLES / "sipmikey-kms.service").read_text()
    unit = unit.replace("/opt/sipmikey/bin/python", sys.executable).replace("User=sipmikey-kms\n", "")
    file = tmp_path / "sipmikey-kms.service"
    file.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    assert "sipmikey-kms.service" not in done.stderr, done.stderr


def test_credentials_can_come_from_gba(tmp_path: Path) -> None:
    key, b_tid = os.urandom(32), "abc@bsf.example.com"
    session = {
        "b_tid": b_tid,
        "ks_naf": base64.b64encode(key).decode(),
        "impus": [ALICE],
        "expires_s": int(time.time()) + 3600,
    }
    sessions = tmp_path / "sessions.jsonl"
    sessions.write_text(json.dumps(session) + "\n")
    site = Site(tmp_path / "site")
    site.edit("[kms]", '[kms]\ncredential_source = "gba_credentials:GbaCredentials"')
    bob = site.add(BOB)
    alice = Subscriber(identity=ALICE, psk=PreSharedKey(key=Secret(key), key_id=b_tid.encode()))
    environment = {"PYTHONPATH": str(EXAMPLES), "GBA_SESSIONS": str(sessions)}
    with serving(site, environment=environment) as service:
        request = alice.request(BOB)
        status, _, answer = service.post(request.message)
        assert status == 200
        request.receive(answer)
        assert service.post(bob.request(ALICE).message)[0] == 200
        liar = Subscriber(identity="sip:carol@example.com", psk=alice.psk)
        assert service.post(liar.request(BOB).message)[0] == 403
        sessions.write_text(json.dumps({**session, "expires_s": 1}) + "\n")
        assert service.post(alice.request(BOB).message)[0] == 401
