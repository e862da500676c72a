"""The PRFs of MIKEY: MIKEY-1 (RFC 3830 section 4.1.2) and PRF-HMAC-SHA-256 (RFC 6043 section 6.1)."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import PrfFunc
from sipmikey.mikey.secret import Secret
from sipmikey.native import native

_BLOCK_LENGTH = 32
"""The inkey is split into blocks of 256 bits, whichever the hash."""

_HASHES: dict[PrfFunc, tuple[type[hashes.HashAlgorithm], int]] = {
    PrfFunc.MIKEY_1: (hashes.SHA1, 20),
    PrfFunc.HMAC_SHA_256: (hashes.SHA256, 32),
}


@native
class Prf:
    """A PRF with its inkey set; one object derives any number of keys.

    The inkey has at least one octet. Keying an HMAC costs more than running one over a label, so the keyed
    contexts are kept.
    """

    __slots__ = ("_contexts", "_hash_length", "func")

    def __init__(self, func: PrfFunc, inkey: Secret) -> None:
        if not inkey:
            raise LocalError("a PRF needs an inkey")
        algorithm, self._hash_length = _HASHES[func]
        octets = inkey.reveal()
        self.func = func
        self._contexts = tuple(
            HMAC(octets[at : at + _BLOCK_LENGTH], algorithm()) for at in range(0, len(octets), _BLOCK_LENGTH)
        )

    def derive(self, label: bytes, outkey_bits: int) -> Secret:
        """Return the *outkey_bits* most significant bits of PRF(inkey, label).

        Where the count is not a multiple of 8 the last octet is filled with zero bits.
        """
        if outkey_bits < 1:
            raise LocalError("an outkey has at least one bit")
        length = (outkey_bits + 7) // 8
        rounds = -(-length // self._hash_length)
        outkey = _p(self._contexts[0], label, rounds)
        for context in self._contexts[1:]:
            block = _p(context, label, rounds)
            outkey = bytes(a ^ b for a, b in zip(outkey, block, strict=True))
        outkey = outkey[:length]
        if surplus := -outkey_bits % 8:
            outkey = outkey[:-1] + bytes((outkey[-1] & 0xFF << surplus & 0xFF,))
        return Secret(outkey)


def _p(context: HMAC, label: bytes, rounds: int) -> bytes:
    """P(s, label, m) of RFC 3830 section 4.1.2, for the s that *context* is keyed with."""
    parts = []
    a = label
    for _ in range(rounds):
        a = _hmac(context, a)
        parts.append(_hmac(context, a + label))
    return parts[0] if rounds == 1 else b"".join(parts)


def _hmac(context: HMAC, data: bytes) -> bytes:
    running = context.copy()
    running.update(data)
    return running.finalize()
