"""Whom a client of a KMS trusts, and the certificate it shows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from sipmikey.mikey.errors import LocalError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """Whom to trust and what to show.

    ``ca_file``: PEM certificates to trust instead of the system's. ``certificate`` and ``private_key``: PEM
    files of a client certificate, both or neither.
    """

    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the server's chain and name, TLS 1.2 or later.

        Raises LocalError naming the file that cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise LocalError(f"cannot use the CA certificates in {self.ca_file}: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if (self.certificate is None) != (self.private_key is None):
            raise LocalError("a client certificate needs both its certificate and its private_key file")
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.private_key)
            except (OSError, ssl.SSLError) as error:
                raise LocalError(f"cannot use the client certificate {self.certificate}: {error}") from None
        return context
