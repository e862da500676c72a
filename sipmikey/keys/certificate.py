"""X.509 certificates of the public-key variants (RFC 3830 sections 4.3 and 6.7, RFC 6043 section 4.2)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from sipmikey.mikey.certificate import CERT
from sipmikey.mikey.errors import InvalidCertificate, LimitExceeded
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.registry import CertType, HashFunc

MIN_RSA_BITS = 2048
"""Shortest RSA modulus accepted, in bits: about the 112 bits of strength below which no CA issues."""

_SECTION = "RFC 6043 section 4.2.1.3"


class KeyPurpose(Enum):
    """What a public key is about to be used for; the certificate's key usage must allow it."""

    SIGNATURE = "digital_signature"
    ENVELOPE = "key_encipherment"


_ALLOWED_TYPES = {
    KeyPurpose.SIGNATURE: (CertType.X509V3, CertType.X509V3_SIGN),
    KeyPurpose.ENVELOPE: (CertType.X509V3, CertType.X509V3_ENCR),
}


def load_certificate(payload: CERT, *, purpose: KeyPurpose = KeyPurpose.SIGNATURE) -> x509.Certificate:
    """Parse the certificate of a CERT payload: X.509 in DER.

    A certificate given by URL is refused, since fetching it would let a stranger choose what this host
    connects to; so is one whose Cert Type does not allow *purpose*. Raises `InvalidCertificate`.
    """
    if payload.cert_type == CertType.X509V3_URL:
        raise InvalidCertificate(
            "certificates by URL are not fetched: send the certificate", field="Cert Type"
        )
    if payload.cert_type not in _ALLOWED_TYPES[purpose]:
        raise InvalidCertificate(
            f"type {int(payload.cert_type)} does not serve for {purpose.value}", field="Cert Type"
        )
    try:
        return x509.load_der_x509_certificate(payload.data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidCertificate("not an X.509 certificate in DER", field="Certificate") from error


def rsa_public_key(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    """Return the RSA key of a certificate: the S types and PKE of RFC 3830 know no other kind.

    Raises `InvalidCertificate` for another kind of key and for a modulus under `MIN_RSA_BITS`.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidCertificate("public key is not supported", field="Certificate") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidCertificate("public key is not RSA, the only kind with an S type", field="Certificate")
    if key.key_size < MIN_RSA_BITS:
        raise InvalidCertificate(
            f"RSA key of {key.key_size} bits, at least {MIN_RSA_BITS} are needed", field="Certificate"
        )
    return key


def certificate_identities(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the URIs of the subjectAltName extension, in order; the subject's name is not an identity.

    Raises `InvalidCertificate` if the extensions cannot be parsed.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except (ValueError, x509.DuplicateExtension) as error:
        raise InvalidCertificate("extensions cannot be parsed", field="Certificate") from error
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def _comparable(uri: str) -> str:
    """Return a SIP or tel URI with scheme and host in lower case (RFC 3261 section 19.1.4)."""
    scheme, colon, rest = uri.partition(":")
    user, at, host = rest.rpartition("@")
    return f"{scheme.lower()}{colon}{user}{at}{host.lower()}"


def _check_identity(certificate: x509.Certificate, identity: bytes) -> None:
    try:
        wanted = _comparable(identity.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidCertificate("not a URI that a certificate could name", field="IDR") from error
    if wanted not in map(_comparable, certificate_identities(certificate)):
        raise InvalidCertificate("identity is not among the subjectAltName URIs", field="Certificate")


def _check_validity(certificate: x509.Certificate, at: datetime) -> None:
    if at < certificate.not_valid_before_utc:
        raise InvalidCertificate("certificate is not valid yet", field="Certificate")
    if at > certificate.not_valid_after_utc:
        raise InvalidCertificate("certificate has expired", field="Certificate")


def _check_usage(certificate: x509.Certificate, purpose: KeyPurpose) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return  # without the extension every use is allowed (RFC 5280 section 4.2.1.3)
    except (ValueError, x509.DuplicateExtension) as error:
        raise InvalidCertificate("extensions cannot be parsed", field="Certificate") from error
    if not getattr(usage, purpose.value):
        raise InvalidCertificate(f"key usage does not include {purpose.value}", field="Certificate")


def _check_order(chain: Sequence[x509.Certificate]) -> None:
    for index, (subject, issuer) in enumerate(pairwise(chain)):
        try:
            subject.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise InvalidCertificate(
                f"certificate {index + 2} does not directly certify certificate {index + 1}",
                field="CERT",
                section=_SECTION,
            ) from error


def _check_anchored(
    chain: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    max_certificates: int,
) -> None:
    if not anchors:
        raise InvalidCertificate("no trust anchor is configured", field="CERT")
    policy = (
        verification.PolicyBuilder()
        .store(verification.Store(list(anchors)))
        .time(at.astimezone(UTC).replace(tzinfo=None))
        .max_chain_depth(max_certificates)
        .extension_policies(
            # What an end entity must have (identity, usage) is checked above, by the rules of MIKEY.
            ee_policy=verification.ExtensionPolicy.permit_all(),
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
        )
    )
    try:
        policy.build_client_verifier().verify(chain[0], list(chain[1:]))
    except (verification.VerificationError, ValueError) as error:
        raise InvalidCertificate(
            "chain does not lead to a trust anchor", field="CERT", section="RFC 3830 section 4.3.2"
        ) from error


def verify_chain(
    chain: Sequence[x509.Certificate],
    *,
    anchors: Sequence[x509.Certificate],
    at: datetime,
    identity: bytes | None,
    purpose: KeyPurpose = KeyPurpose.SIGNATURE,
    max_certificates: int = DEFAULT_LIMITS.certificates,
) -> rsa.RSAPublicKey:
    """Verify certificates in the order of a message, the owner's first; return the owner's RSA key.

    *at* is an aware datetime. *identity* is the ID Data that the first certificate must name as a
    subjectAltName URI, or None where the caller takes the identity from `certificate_identities`.
    A first certificate that is itself among *anchors* is trusted as configured, if it is valid at *at*;
    any other must lead to an anchor through CA certificates that are valid at *at* and may sign
    certificates. Raises `InvalidCertificate`, and `LimitExceeded` for more than *max_certificates*.
    Source: RFC 3830 section 4.3, RFC 6043 sections 4.2.1.3 and 4.2.3.3.
    """
    if not chain:
        raise InvalidCertificate("no certificate", field="CERT")
    if len(chain) > max_certificates:
        raise LimitExceeded(f"chain of more than {max_certificates} certificates", field="CERT")
    owner = chain[0]
    key = rsa_public_key(owner)
    _check_validity(owner, at)
    _check_usage(owner, purpose)
    if identity is not None:
        _check_identity(owner, identity)
    _check_order(chain)
    if owner not in anchors:
        _check_anchored(chain, anchors, at, max_certificates)
    return key


_HASHES = {HashFunc.SHA_1: "sha1", HashFunc.MD5: "md5", HashFunc.SHA_256: "sha256"}


def certificate_hash(certificate: x509.Certificate, hash_func: HashFunc) -> bytes:
    """Return the Hash of a CHASH payload: over the DER octets, 20, 16 or 32 bytes (RFC 3830 section 6.8)."""
    # The hash only names one of this side's own certificates: nothing rests on its strength.
    return hashlib.new(
        _HASHES[hash_func], certificate.public_bytes(Encoding.DER), usedforsecurity=False
    ).digest()


def choose_by_hash(
    hash_func: HashFunc, digest: bytes, certificates: Iterable[x509.Certificate]
) -> x509.Certificate:
    """Return the certificate that a CHASH payload names; raise `InvalidCertificate` if none is it."""
    for certificate in certificates:
        if hmac.compare_digest(certificate_hash(certificate, hash_func), digest):
            return certificate
    raise InvalidCertificate("names no certificate of this KMS", field="CHASH Hash", section=_SECTION)
