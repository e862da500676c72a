"""The authority that signs the certificates of devices (PKCS#10 in, X.509 out)."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sipmikey.kms.enrolment.documents import BadEnrolment

MIN_BITS: Final = 2048
MAX_BITS: Final = 4096
_BACKDATED_S: Final = 300
"""A new certificate is valid from so long ago, for devices whose clock is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAuthority:
    """The authority's ``certificate``, and the ``private_key`` that signs."""

    certificate: x509.Certificate
    private_key: rsa.RSAPrivateKey

    def issue(
        self,
        csr: bytes,
        *,
        identity: str,
        device: str,
        now_s: int,
        until_s: int,
        random: Callable[[int], bytes],
    ) -> x509.Certificate:
        """Return a certificate for the key in *csr* (DER) that names *identity*. Raises `BadEnrolment`.

        Nothing but the key is taken from the request.
        """
        key = _checked(csr)
        end = min(
            datetime.datetime.fromtimestamp(until_s, datetime.UTC), self.certificate.not_valid_after_utc
        )
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device[:64])]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(int.from_bytes(random(19), "big") | 1)
            .not_valid_before(datetime.datetime.fromtimestamp(now_s - _BACKDATED_S, datetime.UTC))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=False
            )
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(ours, critical=False)
            .sign(self.private_key, hashes.SHA256())
        )


def _checked(csr: bytes) -> rsa.RSAPublicKey:
    try:
        request = x509.load_der_x509_csr(csr)
        valid = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise BadEnrolment("not a certificate request (PKCS#10) in DER", field="csr") from None
    if not valid:
        raise BadEnrolment("the request is not signed with its own key", field="csr")
    if not isinstance(key, rsa.RSAPublicKey) or not MIN_BITS <= key.key_size <= MAX_BITS:
        raise BadEnrolment(
            f"an RSA key of {MIN_BITS} to {MAX_BITS} bits is needed, as MIKEY takes", field="csr"
        )
    return key
