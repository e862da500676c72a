"""Certificates and RSA keys for the tests of the public-key variants."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOT_AFTER = datetime(2027, 1, 1, tzinfo=UTC)


@functools.cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key that stays the same for *name* as long as the tests run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def key_usage(*uses: str) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in uses for name in names})


def certificate(
    subject: str,
    issuer: str,
    *,
    uris: tuple[str, ...] = (),
    ca: bool = False,
    usage: x509.KeyUsage | None = None,
    not_before: datetime = NOT_BEFORE,
    not_after: datetime = NOT_AFTER,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    path_length: int | None = None,
) -> x509.Certificate:
    """Return a certificate for *subject*, signed with the key of *issuer*."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key((key or rsa_key(subject)).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if ca:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=path_length), critical=True
        )
        usage = usage or key_usage("key_cert_sign", "crl_sign")
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(rsa_key(issuer), hashes.SHA256())
