"""The server's TLS: contexts, reload of a renewed certificate, and who a client certificate names."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sipmikey.mikey.errors import LocalError
from sipmikey.pem_file import read_certificates


class ClientCertificates(StrEnum):
    """What the server asks of a client: no certificate, one where it has one, or one always."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTlsFiles:
    """PEM files: ``certificate`` (with its chain), ``private_key``, and the CAs of client certificates."""

    certificate: Path
    private_key: Path
    client_ca: Path | None = None
    client_certificates: ClientCertificates = ClientCertificates.NONE

    def __post_init__(self) -> None:
        if self.client_certificates is not ClientCertificates.NONE and self.client_ca is None:
            raise LocalError("client certificates need client_ca, a file of CA certificates")


class ServerTls:
    """A server context for TLS 1.2 and 1.3 whose certificate can be replaced while it serves.

    Raises LocalError, naming the file, if the files cannot be used.
    """

    def __init__(self, files: ServerTlsFiles) -> None:
        self._files = files
        self.context = _context(files)
        self._seen = self._state()

    def reload(self) -> None:
        """Serve new connections with what the files hold now.

        Raises LocalError and keeps the certificate in use if they cannot be used, such as a certificate whose
        key has not been replaced yet.
        """
        seen = self._state()
        _context(self._files)  # first apart: a failure half-way must not break the live context
        self.context.load_cert_chain(self._files.certificate, self._files.private_key)
        self._seen = seen

    def changed(self) -> bool:
        """Return whether a file has changed since it was loaded."""
        return self._state() != self._seen

    def expires_at(self) -> float:
        """Return the Unix time at which the certificate in the file expires."""
        certificate = read_certificates(self._files.certificate)[0]
        return certificate.not_valid_after_utc.timestamp()

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        try:
            stats = [path.stat() for path in (self._files.certificate, self._files.private_key)]
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)


def _context(files: ServerTlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.private_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        detail = (
            "the KMS's account must be able to read both" if isinstance(error, PermissionError) else error
        )
        raise LocalError(
            f"cannot serve TLS with {files.certificate}, {files.private_key}: {detail}"
        ) from None
    if files.client_ca is not None and files.client_certificates is not ClientCertificates.NONE:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise LocalError(f"cannot use the client CAs in {files.client_ca}: {error}") from None
        required = files.client_certificates is ClientCertificates.REQUIRED
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    raise ValueError("the private key is encrypted; give one that is not, readable by the service only")


def peer_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names of a verified client *certificate* (as `getpeercert` gives it): URIs, DNS names
    and mail addresses, the last as ``mailto:`` URIs.

    Only subjectAltName counts (RFC 6125 section 6.4.4); a DNS name is in lower case.
    """
    if not certificate:
        return frozenset()
    names: set[str] = set()
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI":
            names.add(value)
        elif kind == "DNS":
            names.add(value.lower())
        elif kind == "email":
            names.add(f"mailto:{value}")
    return frozenset(names)
