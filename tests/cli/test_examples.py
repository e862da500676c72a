"""The example of the Python API runs as it is written."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from pathlib import Path

from sipmikey.testing import Stage
from sipmikey.testing.plugin import agent_pool as agent_pool
from sipmikey.testing.plugin import call_stage as call_stage
from sipmikey.testing.plugin import kms as kms
from sipmikey.testing.plugin import kms_server as kms_server
from sipmikey.testing.plugin import own as own
from sipmikey.testing.plugin import voices as voices

ROOT = Path(__file__).parent.parent.parent


def test_place_call(call_stage: Stage, voices: dict[str, Path], tmp_path: Path) -> None:
    bob = call_stage.agent("bob").play(voices["bob"]).start()
    alice = call_stage.kms.user("sip:alice@example.com")
    key = tmp_path / "alice.psk"
    key.write_bytes(b64encode(bytes.fromhex(alice.psk)))
    script = subprocess.Popen(
        [
            sys.executable, str(ROOT / "examples" / "place_call.py"), bob.identity, "--as", alice.identity,
            "--psk-id", alice.psk_id, "--psk-file", str(key), "--kms", call_stage.kms.url,
            "--play", str(voices["alice"]), "--bind", "127.0.0.1", "--via", bob.contact,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        bob.expect_ringing()
        bob.answer()
        bob.expect_secure(identity="sip:alice@example.com")
        out, errors = script.communicate(timeout=60)
    finally:
        if script.poll() is None:
            script.kill()
            script.communicate()
    assert script.returncode == 0, errors
    assert "talking to sip:bob@example.com, as sip:kms@example.com says; AES_256_CM_HMAC_SHA1_80" in out
    bob.expect_end()
    bob.expect_audio(voices["alice"])
