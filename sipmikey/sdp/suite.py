"""SRTP suites by name, and the security policies that stand for them in MIKEY."""

from __future__ import annotations

import enum

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.security_policy import SrtpPolicy


class SrtpSuite(enum.StrEnum):
    """SRTP suites by their names in RFC 4568, RFC 6188 and RFC 7714."""

    AES_256_CM_HMAC_SHA1_80 = "AES_256_CM_HMAC_SHA1_80"
    AES_256_CM_HMAC_SHA1_32 = "AES_256_CM_HMAC_SHA1_32"
    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
    AEAD_AES_256_GCM = "AEAD_AES_256_GCM"
    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"

    @property
    def policy(self) -> SrtpPolicy:
        """The policy that an SP payload gives for this suite."""
        return _POLICIES[self]

    @property
    def key_bits(self) -> int:
        """Length of the master key, in bits: 128 or 256."""
        return self.policy.session_encr_key_length * 8


_POLICIES = {
    SrtpSuite.AES_256_CM_HMAC_SHA1_80: SrtpPolicy.aes_cm(32),
    SrtpSuite.AES_256_CM_HMAC_SHA1_32: SrtpPolicy.aes_cm(32, auth_tag_length=4),
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: SrtpPolicy.aes_cm(16),
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: SrtpPolicy.aes_cm(16, auth_tag_length=4),
    SrtpSuite.AEAD_AES_256_GCM: SrtpPolicy.aes_gcm(32),
    SrtpSuite.AEAD_AES_128_GCM: SrtpPolicy.aes_gcm(16),
}

DEFAULT_SUITES = (SrtpSuite.AES_256_CM_HMAC_SHA1_80, SrtpSuite.AES_CM_128_HMAC_SHA1_80)
"""In order of preference; `usable` keeps those of the strength of the ticket's keys."""


def suite_of(policy: SrtpPolicy) -> SrtpSuite | None:
    """Return the suite whose policy this is, or None."""
    return next((suite for suite, known in _POLICIES.items() if known == policy), None)


def usable(suites: tuple[SrtpSuite, ...], key_bits: int) -> tuple[SrtpSuite, ...]:
    """Return the suites, in their order, whose strength is that of a ticket's keys (RFC 6043 section 12.1).

    *key_bits* is 128 or 256. Raises `LocalError` when none is left.
    """
    kept = tuple(suite for suite in suites if suite.key_bits == key_bits)
    if not kept:
        named = ", ".join(suites) or "none"
        raise LocalError(
            f"the ticket has {key_bits}-bit keys and no suite of that strength is allowed: {named}"
        )
    return kept
