"""The examples of this room run as their READMEs say, against a real KMS."""

from __future__ import annotations

import base64
import math
import random
import socket
import struct
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipmikey.media.g711 import PCMA
from sipmikey.testing.kms import TestKms

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 60


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[TestKms]:
    server = TestKms(tmp_path)
    server.start()
    yield server
    server.stop()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def write_wav(path: Path) -> bytes:
    """A second of tones with sample values that G.711 holds exactly; return the samples."""
    rng = random.Random(1)
    pitches = [rng.uniform(200, 2000) for _ in range(10)]
    samples = [int(9000 * math.sin(2 * math.pi * pitches[n // 800] * n / 8000)) for n in range(8000)]
    pcm = PCMA.decode(PCMA.encode(struct.pack(f"={len(samples)}h", *samples)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(pcm)
    return pcm


def test_deferred_delivery(kms: TestKms, tmp_path: Path) -> None:
    script = EXAMPLES / "deferred" / "message.py"
    original, heard, deposit = tmp_path / "greeting.wav", tmp_path / "heard.wav", tmp_path / "deposit"
    pcm = write_wav(original)

    def options(name: str) -> list[object]:
        user = kms.user(f"sip:{name}@example.com")
        psk = tmp_path / f"{name}.psk"
        psk.write_text(base64.b64encode(bytes.fromhex(user.psk)).decode())
        return ["--kms", kms.url, "--as", user.identity, "--psk-id", user.psk_id, "--psk-file", psk]

    bob = options("bob")
    left = run(script, "leave", *options("alice"), "--to", "sip:bob@example.com", original, deposit)
    assert (left.returncode, left.stderr) == (0, "")
    assert deposit.read_bytes()[:4] == b"MTDD"
    stolen = run(script, "play", *options("mallory"), deposit, tmp_path / "stolen.wav")
    assert stolen.returncode == 1
    assert not (tmp_path / "stolen.wav").exists()
    played = run(script, "play", *bob, deposit, heard)
    assert (played.returncode, played.stderr) == (0, "")
    assert played.stdout == "1.0 s from sip:alice@example.com, verified\n"
    with wave.open(str(heard)) as file:
        assert file.readframes(file.getnframes()) == pcm


def test_group_media() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = run(EXAMPLES / "group_media" / "announce.py", "--group", f"239.255.60.43:{port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mki-unknown: MKI 00000002, expected 00000001" in done.stdout
