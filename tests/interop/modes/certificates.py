"""Certificates for the KMS, of a root made for the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.keys.certificates import certificate, key_usage, rsa_key


def make_root(folder: Path) -> None:
    """Write the certificate of the root, and its revocation list with nothing in it."""
    now = datetime.now(UTC)
    root = certificate(
        "root", "root", ca=True, not_before=now - timedelta(days=1), not_after=now + timedelta(days=30)
    )
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    revoke(folder)


def issue(folder: Path, name: str, identity: str, issuer: str) -> Path:
    """Write a certificate of *identity* signed by *issuer*, and its key beside it; return its path."""
    now = datetime.now(UTC)
    made = certificate(
        name, issuer, uris=(identity,), usage=key_usage("digital_signature", "key_encipherment"),
        not_before=now - timedelta(days=1), not_after=now + timedelta(days=30),
    )  # fmt: skip
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    key = rsa_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.with_suffix(".key").write_bytes(key)
    path.with_suffix(".key").chmod(0o600)
    return path


def revoke(folder: Path, *serial_numbers: int) -> None:
    """Write the root's revocation list."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_pem_x509_certificate((folder / "root.pem").read_bytes()).subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(hours=1))
    )
    for number in serial_numbers:
        entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    made = builder.sign(rsa_key("root"), hashes.SHA256())
    (folder / "root.crl").write_bytes(made.public_bytes(Encoding.PEM))
