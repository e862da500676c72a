"""What a KMS needs for the public-key messages: its keys, the CAs it trusts, and their revocation lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cryptography import x509

from sipmikey.cli.kms.configuration import PublicKeySection
from sipmikey.keys.revocation import Revocation
from sipmikey.mikey.errors import InvalidCertificate
from sipmikey.pem_file import read_certificates, read_rsa_key
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.credentials import KmsKeyPair


def key_pairs(section: PublicKeySection, directory: Path) -> tuple[KmsKeyPair, ...]:
    """Return the KMS's key pairs, the one in use first. Raises LocalError."""
    return tuple(
        KmsKeyPair(private_key=read_rsa_key(key), certificate=read_certificates(certificate)[0])
        for certificate, key in _files(section, directory)
    )


def _files(section: PublicKeySection, directory: Path) -> Iterator[tuple[Path, Path]]:
    if section.certificate is None and section.private_key is None:
        if section.older:
            raise ConfigurationError("public_key.older needs public_key.certificate, which is used first")
        return
    if section.certificate is None or section.private_key is None:
        raise ConfigurationError("public_key.certificate and public_key.private_key go together")
    yield section.certificate, section.private_key
    for certificate, key in section.older.items():
        yield directory / Path(certificate).expanduser(), directory / Path(key).expanduser()


def trust_anchors(section: PublicKeySection) -> tuple[x509.Certificate, ...]:
    """Return the CAs of subscribers' certificates. Raises LocalError."""
    return () if section.trust_anchors is None else read_certificates(section.trust_anchors)


def revocation(
    section: PublicKeySection, directory: Path, anchors: Sequence[x509.Certificate]
) -> Callable[[], Revocation] | None:
    """Return what reads the revocation lists in force, None where certificates are not checked against any.

    Raises ConfigurationError for a list that cannot be read now.
    """
    if not section.revocation_lists:
        return None
    watched = WatchedLists(
        [directory / Path(name).expanduser() for name in section.revocation_lists], tuple(anchors)
    )
    try:
        watched()
    except InvalidCertificate as error:
        raise ConfigurationError(f"public_key.revocation_lists: {error.detail}") from None
    return watched


class WatchedLists:
    """Reads the files again when one has changed, so that a new list is in force without a restart."""

    def __init__(self, paths: Sequence[Path], anchors: tuple[x509.Certificate, ...]) -> None:
        self._paths = tuple(paths)
        self._anchors = anchors
        self._read: tuple[tuple[tuple[int, int], ...], Revocation] | None = None

    def __call__(self) -> Revocation:
        """Return the lists; raises InvalidCertificate while one cannot be read and may revoke anything."""
        try:
            states = tuple((found.st_mtime_ns, found.st_size) for found in map(Path.stat, self._paths))
            if self._read is None or self._read[0] != states:
                lists = tuple(found for path in self._paths for found in _lists(path))
                self._read = states, Revocation(lists=lists, anchors=self._anchors)
        except OSError as error:
            raise InvalidCertificate(f"{error.filename}: {error.strerror}", field="CERT") from None
        return self._read[1]


_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


def _lists(path: Path) -> Iterator[x509.CertificateRevocationList]:
    data = path.read_bytes()
    blocks = [_BEGIN + block.partition(_END)[0] + _END for block in data.split(_BEGIN)[1:]]
    try:
        if not blocks:
            yield x509.load_der_x509_crl(data)
        yield from map(x509.load_pem_x509_crl, blocks)
    except ValueError:
        raise InvalidCertificate(f"{path}: not a revocation list in PEM or DER", field="CERT") from None
