"""What an Initiator, Responder or KMS authenticates with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import MINIMUM_KEY_LENGTH
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import PrfFunc, SignatureType
from sipmikey.mikey.secret import Secret

if TYPE_CHECKING:  # loading them takes long, and most have a pre-shared key
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True, slots=True, kw_only=True)
class PreSharedKey:
    """A key shared with the KMS, at least 16 bytes; ``key_id`` names it in IDRpsk (0 to 65535 bytes)."""

    key: Secret
    key_id: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.key) < MINIMUM_KEY_LENGTH:
            raise LocalError(f"a pre-shared key has at least {MINIMUM_KEY_LENGTH} bytes")

    def prf(self, func: PrfFunc) -> Prf:
        """Return the PRF keyed with this key."""
        return Prf(func, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCredential:
    """A private key with its certificate chain (own certificate first), and the KMS's certificates.

    ``kms_certificates`` are those of the KMS whose keys the envelope key may be encrypted with; the first
    is used, and named in CHASH when there are several. ``sends_certificates`` False: the KMS keeps the
    certificate, and messages leave it out.
    """

    private_key: rsa.RSAPrivateKey
    certificates: tuple[x509.Certificate, ...]
    kms_certificates: tuple[x509.Certificate, ...]
    signature_type: SignatureType = SignatureType.RSA_PKCS1
    sends_certificates: bool = True

    def __post_init__(self) -> None:
        if not self.certificates or not self.kms_certificates:
            raise LocalError("a certificate credential needs its own and the KMS's certificate")

    def __repr__(self) -> str:
        return f"<CertificateCredential {self.certificates[0].subject.rfc4514_string()}>"


ClientCredential = PreSharedKey | CertificateCredential


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKeyPair:
    """A private key of the KMS and its certificate, for the public-key variants."""

    private_key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def __repr__(self) -> str:
        return f"<KmsKeyPair {self.certificate.subject.rfc4514_string()}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketProtectionKey:
    """A TPK, at least 16 bytes; ``key_id`` names it in the IDRpsk of Ticket Data."""

    key: Secret
    key_id: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.key) < MINIMUM_KEY_LENGTH:
            raise LocalError(f"a ticket protection key has at least {MINIMUM_KEY_LENGTH} bytes")

    def prf(self, func: PrfFunc) -> Prf:
        """Return the PRF keyed with this key."""
        return Prf(func, self.key)
