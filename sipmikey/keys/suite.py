"""The two algorithm suites of RFC 6043 section 12.1, which are never mixed."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.errors import LocalError, UnsupportedEncryption, UnsupportedMac
from sipmikey.mikey.registry import EncrAlg, MacAlg, PrfFunc


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """PRF, encryption and MAC that belong together. Lengths in bytes.

    ``key_length`` is that of the MPKs, TGKs, envelope keys and TPKs made for the suite, and of the SRTP
    master key; ``rand_length`` that of every random value, so that no sum or maximum of RFC 6043 section
    12.1 falls short. ``encr_algs`` are the encryptions a peer of the suite may use.
    """

    name: str
    prf: PrfFunc
    encr_alg: EncrAlg
    encr_algs: frozenset[EncrAlg]
    mac_alg: MacAlg
    key_length: int
    rand_length: int

    def check_mac(self, mac_alg: MacAlg, field: str) -> None:
        """Raise `UnsupportedMac` for a MAC of the other suite, or none."""
        if mac_alg is not self.mac_alg:
            raise UnsupportedMac(
                f"{mac_alg.name} does not go with {self.prf.name}",
                field=field,
                section="RFC 6043 section 12.1",
            )

    def check_encryption(self, encr_alg: EncrAlg, field: str) -> None:
        """Raise `UnsupportedEncryption` for an encryption of the other suite, or none."""
        if encr_alg not in self.encr_algs:
            raise UnsupportedEncryption(
                f"{encr_alg.name} does not go with {self.prf.name}",
                field=field,
                section="RFC 6043 section 12.1",
            )


SUITE_128 = Suite(
    name="MIKEY-1/AES-CM-128/HMAC-SHA-1-160",
    prf=PrfFunc.MIKEY_1,
    encr_alg=EncrAlg.AES_CM_128,
    encr_algs=frozenset({EncrAlg.AES_CM_128, EncrAlg.AES_KW_128}),
    mac_alg=MacAlg.HMAC_SHA_1_160,
    key_length=16,
    rand_length=16,
)
"""The algorithms of RFC 3830."""

SUITE_256 = Suite(
    name="PRF-HMAC-SHA-256/AES-CM-256/HMAC-SHA-256-256",
    prf=PrfFunc.HMAC_SHA_256,
    encr_alg=EncrAlg.AES_CM_256,
    encr_algs=frozenset({EncrAlg.AES_CM_256}),
    mac_alg=MacAlg.HMAC_SHA_256_256,
    key_length=32,
    rand_length=32,
)
"""The 256-bit algorithms of RFC 6043; the default."""

SUITES: dict[str, Suite] = {"128": SUITE_128, "256": SUITE_256}
"""Suites by the word used in settings."""

_BY_PRF = {suite.prf: suite for suite in SUITES.values()}

MINIMUM_KEY_LENGTH = 16
"""Every key has at least 128 bits (RFC 6043 section 12.1)."""


def suite_of(prf: PrfFunc) -> Suite:
    """Return the suite a PRF belongs to."""
    return _BY_PRF[prf]


def suite_named(word: str) -> Suite:
    """Return the suite called *word*; raise `LocalError` for another word."""
    try:
        return SUITES[word]
    except KeyError:
        raise LocalError(f"unknown suite {word!r}; the suites are {', '.join(SUITES)}") from None
