"""A master key wrapped by a real token (SoftHSM), and by a peer that speaks Vault's transit API."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sipmikey.cli.kms.common import master_key
from sipmikey.cli.kms.configuration import load
from sipmikey.cli.main import main
from sipmikey.kms.master_keys.wrapped_key import WrappedMasterKey
from sipmikey.mikey.errors import LocalError
from tests.kms.http.serving import ALICE, Site

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, TOKEN = "1234", "s.test-token"


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SoftHSM token called kms; its library reads where tokens are once for the whole process."""
    if not MODULE.exists() or shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2 is not installed")
    pytest.importorskip("pkcs11")
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory}/tokens\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(directory / "softhsm2.conf")
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "kms", "--pin", PIN, "--so-pin", "5678"],
        check=True,
        capture_output=True,
    )
    (directory / "pin").write_text(f"{PIN}\n")
    yield directory / "pin"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


class _Transit(BaseHTTPRequestHandler):
    """Encrypt and decrypt of the transit engine, after Vault's API documentation; one key, ``kms``."""

    cipher = AESGCM(bytes(32))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["x-vault-token"] != TOKEN:
            return self._answer(403, {"errors": ["permission denied"]})
        nonce = bytes(12)
        if self.path == "/v1/transit/encrypt/kms":
            sealed = self.cipher.encrypt(nonce, base64.b64decode(asked["plaintext"]), None)
            return self._answer(
                200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}"}}
            )
        if self.path == "/v1/transit/decrypt/kms" and asked["ciphertext"].startswith("vault:v1:"):
            try:
                opened = self.cipher.decrypt(nonce, base64.b64decode(asked["ciphertext"][9:]), None)
            except InvalidTag:
                return self._answer(400, {"errors": ["cipher: message authentication failed"]})
            return self._answer(200, {"data": {"plaintext": base64.b64encode(opened).decode()}})
        return self._answer(400, {"errors": ["encryption key not found"]})

    do_PUT = do_POST  # noqa: N815 - the name that http.server asks for

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("hvac")
    server = HTTPServer(("127.0.0.1", 0), _Transit)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def wrapping(kind: str, token: Path, url: str) -> list[str]:
    if kind == "vault":
        return ["--vault", url, "--key", "kms"]
    return ["--pkcs11", str(MODULE), "--token", "kms", "--key", f"k{os.getpid()}", "--pin", f"file:{token}"]


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["pkcs11", "vault"])
def test_a_kms_opens_by_a_wrapped_key_and_changes_to_another(
    tmp_path: Path, token: Path, vault: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path / "kms")
    site.add(ALICE)
    at = ("--dir", str(site.directory))
    plain = master_key(load(site.directory)).reveal()
    how = wrapping(kind, token, vault)
    make = ["--make-key"] if kind == "pkcs11" else []
    assert main(["kms", "master-key", "wrap", *at, str(site.directory / "one.toml"), *how, *make]) == 0
    text = (site.directory / "one.toml").read_text()
    assert base64.b64encode(plain).decode() not in text
    assert PIN not in text.replace(str(token), "")
    assert TOKEN not in text
    site.edit('master_key = "file:master.key"', 'master_key = "wrapped:one.toml"')
    (site.directory / "master.key").unlink()
    assert main(["kms", "user", "list", *at]) == 0
    assert main(["kms", "master-key", "wrap", *at, str(site.directory / "two.toml"), *how, "--new"]) == 0
    assert main(["kms", "master-key", "change", *at, "--to", "wrapped:two.toml", "--settle-s", "0"]) == 0
    assert main(["kms", "master-key", "finish", *at]) == 2
    assert "still given the old key" in capsys.readouterr().err
    site.edit('master_key = "wrapped:one.toml"', 'master_key = "wrapped:two.toml"')
    assert main(["kms", "master-key", "finish", *at]) == 0
    assert main(["kms", "user", "list", *at]) == 0
    assert "alice" in capsys.readouterr().out
    assert master_key(load(site.directory)).reveal() != plain
    if kind == "pkcs11":
        # Where the token is locked, or the file altered, the KMS says so and shows nothing.
        token.write_text("0000\n")
        assert main(["kms", "user", "list", *at]) == 2
        token.write_text(f"{PIN}\n")
        assert "PinIncorrect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "needs kind"),
        ("kind = 'vault'\nwrapped = '!'", "needs kind"),
        ("kind = 'tpm'\nwrapped = 'AAAA'", "kind is pkcs11 or vault"),
        ("kind = 'vault'\nwrapped = 'AAAA'\nurl = 'x'", "missing"),
        (
            "kind = 'vault'\nwrapped = 'AAAA'\nurl = 'http://127.0.0.1:1'\nkey = 'k'\ntoken = 'env:NOPE'",
            "NOPE",
        ),
        ("kind = [", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, why: str) -> None:
    pytest.importorskip("hvac")
    path = tmp_path / "key.toml"
    path.write_text(text)
    with pytest.raises(LocalError, match=why):
        WrappedMasterKey(path).master_key()


def test_a_vault_that_refuses_is_named(tmp_path: Path, vault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.toml"
    wrapped = base64.b64encode(b"vault:v1:AAAA").decode()
    path.write_text(
        f"kind = 'vault'\nwrapped = '{wrapped}'\nurl = '{vault}'\nkey = 'kms'\ntoken = 'env:VAULT_TOKEN'\n"
    )
    with pytest.raises(LocalError, match="message authentication failed"):
        WrappedMasterKey(path).master_key()
    monkeypatch.setenv("VAULT_TOKEN", "wrong")
    with pytest.raises(LocalError, match="permission denied"):
        WrappedMasterKey(path).master_key()
