"""`sipmikey check` says what is wrong and what to do: keys, clocks, certificates, servers, sound, codecs."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sipmikey.agent import Agent
from sipmikey.cli.calls import findings
from sipmikey.cli.calls.findings import Finding, State
from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import load
from sipmikey.testing import TestKms
from sipmikey.testing.program import run
from tests.cli.commands import ALICE, kms_server

__all__ = ["kms_server"]

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def alice(kms_server: TestKms, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A configuration with which calls work."""
    user = kms_server.user(ALICE)
    file = tmp_path_factory.mktemp("alice") / "psk"
    file.write_text(user.psk)
    file.chmod(0o600)
    return {
        "identity": {"uri": ALICE},
        "sip": {"listen": "127.0.0.1:0"},
        "kms": {
            "url": kms_server.url, "identity": kms_server.identity, "psk_file": str(file),
            "psk_id": user.psk_id,
        },
        "media": {"device": "null"},
        "timeouts": {"kms": 5},
    }  # fmt: skip


def written(folder: Path, base: dict[str, dict[str, Any]], **changed: dict[str, Any]) -> Path:
    """Write *base* with what is *changed*; return the file."""
    sections = {name: base.get(name, {}) | changed.get(name, {}) for name in base | changed}
    file = folder / "alice.toml"
    lines = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        for name, values in sections.items()
    ]
    file.write_text("".join(lines))
    return file


def asked(file: Path) -> Finding:
    """Return what is found about the KMS: an agent that is not started can ask it too."""

    async def ask() -> Finding:
        configuration = load(path=file, environment={}).configuration
        config = agent_config(configuration)
        client = kms_client(configuration)
        assert client is not None
        async with client:
            return await findings._kms(Agent(config, kms=client), config)

    return asyncio.run(ask())


def test_a_wrong_key_name_or_kms_is_told_with_what_to_do(
    alice: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("00" * 32)
    wrong.chmod(0o600)
    assert asked(written(tmp_path, alice)).state is State.OK
    for changed, word, advice in (
        ({"psk_file": str(wrong)}, "auth-failure", "kms.psk_file"),
        ({"psk_id": "nobody"}, "unknown-key", "kms.psk_id"),
        ({"identity": "sip:other@example.com"}, "invalid-identity", "kms.identity"),
        ({"url": "http://127.0.0.1:9"}, "kms-unreachable", "check kms.url"),
    ):
        found = asked(written(tmp_path, alice, kms=changed))
        assert found.state is State.BAD
        assert word in found.detail
        assert advice in found.advice
        assert "the KMS has" not in found.detail, "what to do is told once"


@pytest.mark.parametrize(("ahead_s", "way"), [(HOUR_S, "ahead of"), (-HOUR_S, "behind")])
def test_a_wrong_clock_is_told_and_which_way(
    alice: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ahead_s: float,
    way: str,
) -> None:
    """The same whether it is ours or the KMS's: only their difference is known."""
    seconds, nanoseconds = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: seconds() + ahead_s)
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(ahead_s * 1e9))
    found = asked(written(tmp_path, alice))
    assert found.state is State.BAD
    assert "invalid-timestamp" in found.detail
    assert f"s {way} that of the KMS: set it by NTP" in found.advice


class Certificates:
    """A CA and the certificates of a server that it issues, as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self._write("ca", "a CA", "a CA", self._key, (-1, 30), ca=True)

    def issue(self, name: str, host: str, valid: tuple[float, float]) -> Path:
        """Return a file with key and certificate for *host*. *valid*: from when to when, in days from now."""
        return self._write(name, "a CA", host, ec.generate_private_key(ec.SECP256R1()), valid)

    def _write(
        self, name: str, issuer: str, host: str, key: ec.EllipticCurvePrivateKey, valid: tuple[float, float],
        *, ca: bool = False,
    ) -> Path:  # fmt: skip
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_called(host))
            .issuer_name(_called(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=valid[0]))
            .not_valid_after(now + timedelta(days=valid[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"{name}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(secret + made.public_bytes(Encoding.PEM))
        return file


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def served(certificate: Path) -> Iterator[str]:
    """Have a server of TLS that shows *certificate*; yield its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("host", "valid", "known", "words", "advice"),
    [
        ("localhost", (-1, 30), False, "unable to get local issuer", "set kms.ca_file"),
        ("localhost", (-30, -1), True, "expired", "renew it"),
        ("localhost", (1, 30), True, "not yet valid", "NTP"),
        ("kms.example.net", (-1, 30), True, "mismatch", "as its certificate does"),
    ],
    ids=["unknown-ca", "expired", "not-yet-valid", "another-name"],
)
def test_a_kms_whose_certificate_is_wrong_says_what_about_it(
    alice: dict[str, dict[str, Any]],
    certificates: Certificates,
    tmp_path: Path,
    host: str,
    valid: tuple[float, float],
    known: bool,
    words: str,
    advice: str,
) -> None:
    with served(certificates.issue("server", host, valid)) as port:
        changed: dict[str, Any] = {"url": f"https://localhost:{port}"}
        if known:
            changed["ca_file"] = str(certificates.ca)
        found = asked(written(tmp_path, alice, kms=changed))
    assert found.state is State.BAD
    assert words in found.detail
    assert advice in found.advice


def test_files_of_certificates_are_looked_at(certificates: Certificates, tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("nothing of the kind")
    for file, state, words in (
        (certificates.issue("old", "a", (-30, -1)), State.BAD, "out of date"),
        (certificates.issue("new", "a", (1, 30)), State.BAD, "not valid yet"),
        (certificates.issue("soon", "a", (-1, 3)), State.WARNING, "valid until"),
        (certificates.issue("good", "a", (-1, 300)), State.OK, "valid until"),
        (tmp_path / "absent.pem", State.BAD, "No such file"),
        (text, State.BAD, "no certificate in PEM"),
    ):
        found = findings._certificate("kms.ca_file", file)
        assert (found.state, words in found.detail) == (state, True), found
        assert bool(found.advice) is (state is not State.OK)


def test_all_that_is_wrong_is_told_in_one_run(
    alice: dict[str, dict[str, Any]], certificates: Certificates, tmp_path: Path
) -> None:
    """Dead servers, no sound, no codec, an old certificate: one line each, and the KMS is asked still."""
    old = certificates.issue("old", "a", (-30, -1))
    file = written(
        tmp_path, alice, media={"device": "default", "codecs": ["AMR"]}, kms={"ca_file": str(old)},
        nat={"stun": "127.0.0.1:9", "turn": "127.0.0.1:9", "turn_username": "nobody"},
    )  # fmt: skip
    silent = {
        "PULSE_SERVER": f"unix:{tmp_path}/absent", "XDG_RUNTIME_DIR": str(tmp_path),
        "ALSA_CONFIG_PATH": str(tmp_path / "absent"),
    }  # fmt: skip
    done = run("check", "--config", file, "--json", environment=silent)
    found = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 3, done.stderr
    assert {name: one["state"] for name, one in found.items()} == {
        "certificates": "bad", "sound": "bad", "stun": "bad", "turn": "bad", "nat": "bad",
        "codecs": "bad",
        "kms": "ok", "registrar": "unused",
    }  # fmt: skip
    assert all(one["advice"] for one in found.values() if one["state"] in ("bad", "warning"))
    assert {found[name]["detail"] for name in ("stun", "turn")} == {"no answer on UDP"}
    assert "AMR" in found["codecs"]["detail"]
