"""Certificate revocation lists (RFC 5280 section 6.3): a certificate that its issuer took back is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from sipmikey.mikey.errors import InvalidCertificate

_SECTION = "RFC 3830 section 4.3.1"

_CrlKey = (
    dsa.DSAPublicKey, rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The lists there are, and the CAs that may have signed them besides those of a chain."""

    lists: tuple[x509.CertificateRevocationList, ...]
    anchors: tuple[x509.Certificate, ...]

    def check(self, chain: Sequence[x509.Certificate], at: datetime, *, kept: bool = False) -> None:
        """Raise `InvalidCertificate` unless no certificate of a verified chain is revoked.

        Each needs a list of its issuer that is in force *at* that time: without one, its state is unknown,
        and it is refused. *kept*: the certificate is configured on this side, and is refused only where a
        list names it.
        """
        for index, certificate in enumerate(chain):
            if certificate in self.anchors and not kept:
                return  # trusted as configured; what follows is not needed
            issuers = (*chain[index + 1 : index + 2], *self.anchors)
            current = [found for found in self._of(certificate, issuers) if _in_force(found, at)]
            if not current and not kept:
                raise InvalidCertificate(
                    f"no current revocation list of {certificate.issuer.rfc4514_string()}",
                    field="CERT",
                    section=_SECTION,
                )
            for found in current:
                entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
                if entry is not None:
                    raise InvalidCertificate("certificate is revoked", field="CERT", section=_SECTION)

    def _of(
        self, certificate: x509.Certificate, issuers: Sequence[x509.Certificate]
    ) -> Iterator[x509.CertificateRevocationList]:
        """Yield the lists that one of *issuers*, which issued *certificate*, signed and may sign."""
        named = [
            issuer for issuer in issuers if issuer.subject == certificate.issuer and _may_sign_lists(issuer)
        ]
        for found in self.lists:
            if found.issuer == certificate.issuer and any(_signed(found, issuer) for issuer in named):
                yield found


def _in_force(found: x509.CertificateRevocationList, at: datetime) -> bool:
    end = found.next_update_utc
    return found.last_update_utc <= at and end is not None and at < end


def _signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    # A critical extension limits what a list is about (a delta, some reasons, other issuers).
    if any(extension.critical for extension in found.extensions):
        return False
    try:
        key = issuer.public_key()
        return isinstance(key, _CrlKey) and found.is_signature_valid(key)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.crl_sign
