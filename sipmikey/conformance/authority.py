"""Certificates for the public-key variants: of an authority of the suite's own, and read from files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from sipmikey.keys.revocation import Revocation
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.credentials import CertificateCredential, KmsKeyPair

_BITS = 2048
_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What the public-key variants are tested with: the holders, each with the KMS's certificates.

    ``revoked`` is a certificate of the Initiator that its issuer took back, ``untrusted`` one of an issuer
    that the KMS does not know.
    """

    initiator: CertificateCredential
    responder: CertificateCredential
    untrusted: CertificateCredential
    revoked: CertificateCredential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A CA made for tests, and the KMS that it certified."""

    private_key: rsa.RSAPrivateKey
    certificate: x509.Certificate
    kms: KmsKeyPair
    now: datetime

    @classmethod
    def make(cls, kms: str, now_ns: int) -> Self:
        """Draw the keys of a CA and of the KMS *kms*, valid for a year about *now_ns*."""
        now = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
        key, kms_key = _key(), _key()
        own = _sign("Conformance CA", key, "Conformance CA", key, now)
        pair = KmsKeyPair(
            private_key=kms_key,
            certificate=_sign("KMS", kms_key, "Conformance CA", key, now, identity=kms),
        )
        return cls(private_key=key, certificate=own, kms=pair, now=now)

    def holder(self, identity: str) -> CertificateCredential:
        """Return a key with a certificate for *identity*."""
        key = _key()
        return CertificateCredential(
            private_key=key,
            certificates=(
                _sign(identity, key, "Conformance CA", self.private_key, self.now, identity=identity),
            ),
            kms_certificates=(self.kms.certificate,),
        )

    def revocation(self, *revoked: CertificateCredential) -> Revocation:
        """Return the list of the certificates taken back."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(self.now - timedelta(days=1))
            .next_update(self.now + _LIFE)
        )
        for one in revoked:
            number = one.certificates[0].serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(self.now)
            builder = builder.add_revoked_certificate(entry.build())
        signed = builder.sign(self.private_key, hashes.SHA256())
        return Revocation(lists=(signed,), anchors=(self.certificate,))


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedDomain:
    """An authority, and certificates of the first two of a domain's subscribers."""

    authority: Authority
    certified: Certified

    @classmethod
    def make(cls, kms: str, initiator: str, responder: str, now_ns: int) -> CertifiedDomain:
        """Draw the keys of all; that takes about a second."""
        authority = Authority.make(kms, now_ns)
        first = authority.holder(initiator)
        certified = Certified(
            initiator=first,
            responder=authority.holder(responder),
            untrusted=untrusted_copy(first, initiator, now_ns),
            revoked=authority.holder(initiator),
        )
        return cls(authority=authority, certified=certified)


def untrusted_copy(credential: CertificateCredential, identity: str, now_ns: int) -> CertificateCredential:
    """Return a credential for *identity* of an issuer that nobody trusts, with the same KMS certificates."""
    other = Authority.make("sip:kms@elsewhere.invalid", now_ns).holder(identity)
    return replace(other, kms_certificates=credential.kms_certificates)


def read_holder(path: Path, kms_certificates: tuple[x509.Certificate, ...]) -> CertificateCredential:
    """Read a private key and its certificate chain from one PEM file. Raises `LocalError`."""
    octets = _read(path)
    try:
        key = load_pem_private_key(octets, None)
        chain = x509.load_pem_x509_certificates(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise LocalError(f"{path} needs an RSA key without a password and its certificates, in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise LocalError(f"{path}: the key is not RSA, the only kind that MIKEY signs with")
    return CertificateCredential(
        private_key=key, certificates=tuple(chain), kms_certificates=kms_certificates
    )


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates in a PEM file. Raises `LocalError`."""
    octets = _read(path)
    try:
        return tuple(x509.load_pem_x509_certificates(octets))
    except ValueError:
        raise LocalError(f"{path} has no certificate in PEM") from None


def write_holder(path: Path, credential: CertificateCredential) -> None:
    """Write a private key and its certificates to *path*, for the owner's eyes."""
    key = credential.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(key + b"".join(one.public_bytes(Encoding.PEM) for one in credential.certificates))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_BITS)


def _sign(
    subject: str,
    key: rsa.RSAPrivateKey,
    issuer: str,
    issuer_key: rsa.RSAPrivateKey,
    now: datetime,
    *,
    identity: str | None = None,
) -> x509.Certificate:
    ca = identity is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca, content_commitment=False, key_encipherment=not ca,
                data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if identity is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(names, critical=False).add_extension(ours, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])
