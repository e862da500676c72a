"""PEM files: what is in them is read, and an error names the setting, the file and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sipmikey.mikey.errors import LocalError
from sipmikey.pem_file import NoPem, read_certificates, read_rsa_key
from tests.keys.certificates import certificate, rsa_key

PKCS8 = PrivateFormat.PKCS8


def test_a_key_and_its_certificates_may_be_in_one_file(tmp_path: Path) -> None:
    chain = (certificate("alice", "root"), certificate("root", "root", ca=True))
    path = tmp_path / "alice.pem"
    path.write_bytes(
        rsa_key("alice").private_bytes(Encoding.PEM, PKCS8, NoEncryption())
        + b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    )
    assert read_certificates(path) == chain
    assert read_rsa_key(path).private_numbers() == rsa_key("alice").private_numbers()


def test_a_file_that_cannot_be_read_is_not_a_file_without_pem(tmp_path: Path) -> None:
    for read in (read_certificates, read_rsa_key):
        with pytest.raises(LocalError, match=r"kms\.private_key: .*gone: No such file") as raised:
            read(tmp_path / "gone", "kms.private_key")
        assert not isinstance(raised.value, NoPem)


def test_what_is_not_a_certificate_in_pem_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alice.der"
    path.write_bytes(certificate("alice", "root").public_bytes(Encoding.DER))
    with pytest.raises(NoPem, match=r"alice\.der: no certificate in PEM"):
        read_certificates(path)


def test_a_key_with_a_password_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    locked, curve = tmp_path / "locked.pem", tmp_path / "curve.pem"
    locked.write_bytes(
        rsa_key("alice").private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"secret"))
    )
    curve.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    )
    with pytest.raises(NoPem, match=r"--kms-key: .*locked.*without password"):
        read_rsa_key(locked, "--kms-key")
    with pytest.raises(NoPem, match=r"curve.*not an RSA key"):
        read_rsa_key(curve, "--kms-key")
