"""PEM files: certificates, and RSA keys without a password."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sipmikey.mikey.errors import LocalError


class NoPem(LocalError):
    """The file can be read, and does not hold in PEM what is looked for."""


def read_certificates(path: Path, name: str = "") -> tuple[x509.Certificate, ...]:
    """Return every certificate in the file at *path*, at least one.

    *name* is the option or setting that names the file, for the text of the error. Raises `LocalError`:
    `NoPem` where the file holds none.
    """
    where = _where(path, name)
    data = _read(path, where)
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise NoPem(f"{where}: no certificate in PEM") from None


def read_rsa_key(path: Path, name: str = "") -> rsa.RSAPrivateKey:
    """Return the RSA key in the file at *path*, the only kind that MIKEY signs and decrypts with.

    *name* is as in `read_certificates`. Raises `LocalError`, which never repeats what is in the file.
    """
    where = _where(path, name)
    data = _read(path, where)
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise NoPem(f"{where}: not a private key in PEM without password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise NoPem(f"{where}: not an RSA key, the only kind that MIKEY signs and decrypts with")
    return key


def _where(path: Path, name: str) -> str:
    return f"{name}: {path}" if name else str(path)


def _read(path: Path, where: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise LocalError(f"{where}: {error.strerror}") from None
