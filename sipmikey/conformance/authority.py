"""Certificates for the public-key variants: of an authority of the suite's own, and read from files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sipmikey.conformance.certificates import make_certificate, new_rsa_key
from sipmikey.keys.revocation import Revocation
from sipmikey.mikey.errors import LocalError
from sipmikey.pem_file import read_certificates, read_rsa_key
from sipmikey.ticket.credentials import CertificateCredential, KmsKeyPair

_CA = "Conformance CA"
_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedParties:
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
        key, kms_key = new_rsa_key(), new_rsa_key()
        valid = _about(now)
        own = make_certificate(_CA, None, key, _CA, key, valid=valid)
        pair = KmsKeyPair(
            private_key=kms_key,
            certificate=make_certificate("KMS", kms, kms_key, _CA, key, valid=valid),
        )
        return cls(private_key=key, certificate=own, kms=pair, now=now)

    def holder(self, identity: str) -> CertificateCredential:
        """Return a key with a certificate for *identity*."""
        key = new_rsa_key()
        made = make_certificate(identity, identity, key, _CA, self.private_key, valid=_about(self.now))
        return CertificateCredential(
            private_key=key,
            certificates=(made,),
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
    certified: CertifiedParties

    @classmethod
    def make(cls, kms: str, initiator: str, responder: str, now_ns: int) -> CertifiedDomain:
        """Draw the keys of all; that takes about a second."""
        authority = Authority.make(kms, now_ns)
        first = authority.holder(initiator)
        certified = CertifiedParties(
            initiator=first,
            responder=authority.holder(responder),
            untrusted=untrusted_copy(first, initiator, now_ns),
            revoked=authority.holder(initiator),
        )
        return cls(authority=authority, certified=certified)


def kept_domain(folder: Path, kms: str, responder: str, now_ns: int) -> CertifiedDomain:
    """Return certificates for a KMS and for the user agent *responder*, from *folder* or written to it.

    The files are ca.pem and kms-pair.pem, each with its private key, kms.pem, and agent.pem with the private
    key of the user agent. Raises `LocalError` for files that are not such.
    """
    ca, pair, agent = (folder / f"{name}.pem" for name in ("ca", "kms-pair", "agent"))
    if agent.exists():
        authority = Authority(
            private_key=read_rsa_key(ca),
            certificate=read_certificates(ca)[0],
            kms=KmsKeyPair(private_key=read_rsa_key(pair), certificate=read_certificates(pair)[0]),
            now=datetime.fromtimestamp(now_ns // 1_000_000_000, UTC),
        )
        held = read_holder(agent, (authority.kms.certificate,))
    else:
        authority = Authority.make(kms, now_ns)
        held = authority.holder(responder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(ca, authority.private_key, authority.certificate)
            _write(pair, authority.kms.private_key, authority.kms.certificate)
            (folder / "kms.pem").write_bytes(authority.kms.certificate.public_bytes(Encoding.PEM))
            write_holder(agent, held)
        except OSError as error:
            raise LocalError(f"{folder}: {error.strerror}") from None
    return CertifiedDomain(
        authority=authority, certified=CertifiedParties(initiator=held, responder=held, untrusted=held)
    )


def untrusted_copy(credential: CertificateCredential, identity: str, now_ns: int) -> CertificateCredential:
    """Return a credential for *identity* of an issuer that nobody trusts, with the same KMS certificates."""
    other = Authority.make("sip:kms@elsewhere.invalid", now_ns).holder(identity)
    return replace(other, kms_certificates=credential.kms_certificates)


def read_holder(path: Path, kms_certificates: tuple[x509.Certificate, ...]) -> CertificateCredential:
    """Read a private key and its certificate chain from one PEM file. Raises `LocalError`."""
    key, chain = read_rsa_key(path), read_certificates(path)
    return CertificateCredential(private_key=key, certificates=chain, kms_certificates=kms_certificates)


def write_holder(path: Path, credential: CertificateCredential) -> None:
    """Write a private key and its certificates to *path*, for the owner's eyes."""
    _write(path, credential.private_key, *credential.certificates)


def _write(path: Path, private_key: rsa.RSAPrivateKey, *certificates: x509.Certificate) -> None:
    key = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(key + b"".join(one.public_bytes(Encoding.PEM) for one in certificates))


def _about(now: datetime) -> tuple[datetime, datetime]:
    """Return from when till when certificates are valid."""
    return now - timedelta(days=1), now + _LIFE
