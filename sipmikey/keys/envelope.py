"""The envelope key of the public-key variants (RFC 3830 sections 3.2, 4.2.5 and 6.3)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sipmikey.mikey.errors import LocalError, MalformedMessage
from sipmikey.mikey.secret import Secret

ENVELOPE_KEY_LENGTHS = (16, 32)
"""Lengths of an envelope key, in bytes: the 128-bit and the 256-bit suite's."""


def seal_envelope(public_key: rsa.RSAPublicKey, envelope_key: Secret) -> bytes:
    """Return the Data of a PKE payload: the bare envelope key under RSAES-PKCS1-v1_5.

    The result is as long as the RSA modulus. The padding is drawn by the cryptographic library. The
    payload has no field that could announce OAEP, so the mandatory scheme is the only one.
    Raises `LocalError` if the envelope key is not of 16 or 32 bytes.
    """
    if len(envelope_key) not in ENVELOPE_KEY_LENGTHS:
        raise LocalError(f"an envelope key has 16 or 32 bytes, not {len(envelope_key)}")
    return _encrypt(public_key, envelope_key.reveal())


def _encrypt(public_key: rsa.RSAPublicKey, plaintext: bytes) -> bytes:
    return public_key.encrypt(plaintext, padding.PKCS1v15())


def open_envelope(private_key: rsa.RSAPrivateKey, data: bytes, *, length: int, substitute: Secret) -> Secret:
    """Return the envelope key in the Data of a PKE payload, *length* bytes.

    Data that does not hold a key of that length yields *substitute*, *length* fresh random bytes, and no
    error: an answer that told bad padding from good would let an attacker decrypt other envelopes. The
    response then cannot be verified. Raises `MalformedMessage` only for what everybody can see, a
    length other than the modulus's, and `LocalError` for an unfit *length* or *substitute*.
    """
    if length not in ENVELOPE_KEY_LENGTHS or len(substitute) != length:
        raise LocalError("an envelope key, and its substitute, has 16 or 32 bytes")
    modulus_length = (private_key.key_size + 7) // 8
    if len(data) != modulus_length:
        raise MalformedMessage(
            f"{len(data)} octets, an envelope for this key has {modulus_length}", field="PKE Data"
        )
    try:
        plaintext = private_key.decrypt(data, padding.PKCS1v15())
    except ValueError:
        return substitute
    return Secret(plaintext) if len(plaintext) == length else substitute
