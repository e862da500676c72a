"""RSA signatures of the SIGN payload (RFC 3830 sections 4.2.6 and 6.5).

No S type is registered for ECDSA: RFC 3830 gives 0 and 1, RFC 4738 adds none, and the later value 2 is
ECCSI of RFC 6509. A certificate with an elliptic-curve key is therefore refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sipmikey.mikey.errors import AuthenticationFailure, LocalError, UnsupportedHash
from sipmikey.mikey.registry import HashFunc, PrfFunc, SignatureType

SIGNATURE_HASH: Mapping[PrfFunc, HashFunc] = MappingProxyType(
    {PrfFunc.MIKEY_1: HashFunc.SHA_1, PrfFunc.HMAC_SHA_256: HashFunc.SHA_256}
)
"""Hash to sign with, by the PRF of the HDR, which names the suite.

RFC 3830 names no signature hash; SHA-1 is its default hash function (section 4.2.1), and SHA-256 the
256-bit suite's.
"""

ACCEPTED_HASHES: Mapping[PrfFunc, tuple[HashFunc, ...]] = MappingProxyType(
    {PrfFunc.MIKEY_1: (HashFunc.SHA_1, HashFunc.SHA_256), PrfFunc.HMAC_SHA_256: (HashFunc.SHA_256,)}
)
"""Hashes to accept, by the PRF of the HDR: one stronger than the suite's is accepted too."""

_ALGORITHMS: Mapping[HashFunc, type[hashes.SHA1] | type[hashes.SHA256]] = MappingProxyType(
    {HashFunc.SHA_1: hashes.SHA1, HashFunc.SHA_256: hashes.SHA256}
)


def _algorithm(hash_func: HashFunc) -> hashes.SHA1 | hashes.SHA256:
    algorithm = _ALGORITHMS.get(hash_func)
    if algorithm is None:
        raise UnsupportedHash(f"{hash_func.name} is not used for signatures", field="SIGN")
    return algorithm()


def _padding(
    signature_type: SignatureType, algorithm: hashes.SHA1 | hashes.SHA256
) -> padding.PKCS1v15 | padding.PSS:
    if signature_type == SignatureType.RSA_PKCS1:
        return padding.PKCS1v15()
    # MGF1 and the salt length follow the hash, the usual parameters of PKCS #1: RFC 3830 gives none.
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)


def signature_length(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> int:
    """Return the length of a signature, in bytes: it is in the message before the signature is made."""
    return (key.key_size + 7) // 8


def sign(
    private_key: rsa.RSAPrivateKey,
    covered: bytes,
    *,
    hash_func: HashFunc,
    signature_type: SignatureType = SignatureType.RSA_PKCS1,
) -> bytes:
    """Return the signature over *covered*, `signature_length` bytes.

    *covered* is the message up to and with Signature len, then the identities of an initial message
    (RFC 6043 section 5.5). Raises `LocalError` if the key cannot sign with that hash, and
    `UnsupportedHash` for MD5.
    """
    algorithm = _algorithm(hash_func)
    try:
        return private_key.sign(covered, _padding(signature_type, algorithm), algorithm)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LocalError(f"this key cannot make an {hash_func.name} signature") from error


def verify_signature(
    public_key: rsa.RSAPublicKey,
    signature: bytes,
    covered: bytes,
    *,
    hash_funcs: Collection[HashFunc],
    signature_type: SignatureType = SignatureType.RSA_PKCS1,
) -> None:
    """Raise `AuthenticationFailure` unless *signature* is one over *covered* with one of *hash_funcs*.

    The payload does not say which hash was used, hence several. RFC 3830 section 6.5.
    """
    for hash_func in hash_funcs:
        algorithm = _algorithm(hash_func)
        try:
            public_key.verify(signature, covered, _padding(signature_type, algorithm), algorithm)
        except (InvalidSignature, ValueError, UnsupportedAlgorithm):
            continue
        return
    raise AuthenticationFailure(
        "signature does not verify", field="SIGN signature", section="RFC 6043 section 5.5"
    )
