"""SRTP profiles: what a negotiated policy means in octets, and what each SRTP engine calls it."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.errors import InvalidSecurityPolicy
from sipmikey.mikey.registry import SrtpAuthAlg, SrtpEncrAlg, SrtpPrf
from sipmikey.mikey.security_policy import SrtpPolicy

RTP_HEADER_LENGTH = 12
"""Fixed part of an RTP header, in bytes (RFC 3550 section 5.1)."""

RTCP_HEADER_LENGTH = 8
"""The part of an RTCP packet that SRTCP leaves clear, in bytes (RFC 3711 section 3.4)."""

SRTCP_INDEX_LENGTH = 4
"""E flag and SRTCP index, in bytes (RFC 3711 section 3.4)."""

HMAC_SHA1_KEY_LENGTH = 20
"""Session authentication key of HMAC-SHA1, in bytes (RFC 3711 section 8.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpProfile:
    """One combination of transforms; all lengths are in bytes.

    ``name`` is the crypto-suite name of SDES (RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714
    section 14.1), which pjmedia uses too. ``python_name`` is the constant of ``pylibsrtp.Policy``, None
    where pylibsrtp has none. ``native`` tells whether pjmedia knows the name; whether a given build
    has it is for its list of cryptos to say.
    """

    name: str
    aead: bool
    key_length: int
    salt_length: int
    tag_length: int
    rtcp_tag_length: int
    auth_key_length: int
    python_name: str | None
    native: bool

    @property
    def pjmedia_name(self) -> str | None:
        """Name for pjmedia, None where it has none."""
        return self.name if self.native else None

    @property
    def keying_length(self) -> int:
        """Length of master key || master salt, as SDES, pjmedia and libsrtp take them."""
        return self.key_length + self.salt_length

    def overhead(self, mki_length: int) -> int:
        """Bytes that SRTP adds to an RTP packet."""
        return self.tag_length + mki_length

    def rtcp_overhead(self, mki_length: int) -> int:
        """Bytes that SRTCP adds to an RTCP packet."""
        return SRTCP_INDEX_LENGTH + self.rtcp_tag_length + mki_length


def _aes_cm(bits: int, tag_bits: int, python_name: str | None, native: bool) -> SrtpProfile:
    # SRTCP keeps an 80-bit tag also where RTP has 32 bits (RFC 4568 section 6.2.2, RFC 3711 section 5.2).
    return SrtpProfile(
        name=f"AES_CM_128_HMAC_SHA1_{tag_bits}" if bits == 128 else f"AES_{bits}_CM_HMAC_SHA1_{tag_bits}",
        aead=False,
        key_length=bits // 8,
        salt_length=14,
        tag_length=tag_bits // 8,
        rtcp_tag_length=10,
        auth_key_length=HMAC_SHA1_KEY_LENGTH,
        python_name=python_name,
        native=native,
    )


def _aes_gcm(bits: int) -> SrtpProfile:
    return SrtpProfile(
        name=f"AEAD_AES_{bits}_GCM",
        aead=True,
        key_length=bits // 8,
        salt_length=12,
        tag_length=16,
        rtcp_tag_length=16,
        auth_key_length=0,
        python_name=f"SRTP_PROFILE_AEAD_AES_{bits}_GCM",
        native=True,
    )


PROFILES: tuple[SrtpProfile, ...] = (
    _aes_cm(128, 80, "SRTP_PROFILE_AES128_CM_SHA1_80", native=True),
    _aes_cm(128, 32, "SRTP_PROFILE_AES128_CM_SHA1_32", native=True),
    _aes_cm(192, 80, None, native=True),
    _aes_cm(192, 32, None, native=True),
    _aes_cm(256, 80, None, native=True),
    _aes_cm(256, 32, None, native=True),
    _aes_gcm(128),
    _aes_gcm(256),
)
"""RFC 3711 and RFC 4568 (128 bits), RFC 6188 (192 and 256 bits), RFC 7714 (GCM)."""


def profile_by_name(name: str) -> SrtpProfile:
    """Return the profile with SDES *name*; raise `InvalidSecurityPolicy` when there is none."""
    for profile in PROFILES:
        if profile.name == name:
            return profile
    known = ", ".join(profile.name for profile in PROFILES)
    raise InvalidSecurityPolicy(f"no SRTP profile {name!r}; known: {known}")


def profile_for(policy: SrtpPolicy) -> SrtpProfile:
    """Return the profile that *policy* describes.

    Raises `InvalidSecurityPolicy` naming the parameter for what no engine here does: no encryption or no
    authentication, AES-f8, another PRF than AES-CM, a key derivation rate, a prefix, or a length that no
    profile has.
    """
    wrong = _refused_parameter(policy)
    if wrong is not None:
        raise InvalidSecurityPolicy(f"{wrong}: not supported", field="SP", section="RFC 3830 section 6.10.1")
    aead = policy.encr_alg is SrtpEncrAlg.AES_GCM
    tag_length = policy.aead_tag_length if aead else policy.auth_tag_length
    for profile in PROFILES:
        if (profile.aead, profile.key_length, profile.salt_length, profile.tag_length) == (
            aead,
            policy.session_encr_key_length,
            policy.session_salt_length,
            tag_length,
        ):
            return profile
    raise InvalidSecurityPolicy(
        f"{policy.encr_alg.name} with a key of {policy.session_encr_key_length}, a salt of "
        f"{policy.session_salt_length} and a tag of {tag_length} bytes is not an SRTP profile",
        field="SP",
    )


def _refused_parameter(policy: SrtpPolicy) -> str | None:
    if policy.encr_alg not in (SrtpEncrAlg.AES_CM, SrtpEncrAlg.AES_GCM):
        return f"encryption algorithm {policy.encr_alg.name}"
    if not policy.srtp_encryption or not policy.srtcp_encryption:
        return "SRTP or SRTCP without encryption"
    if policy.encr_alg is SrtpEncrAlg.AES_CM:
        if policy.auth_alg is not SrtpAuthAlg.HMAC_SHA_1 or not policy.srtp_authentication:
            return "SRTP without authentication"
        if policy.session_auth_key_length != HMAC_SHA1_KEY_LENGTH:
            return f"an authentication key of {policy.session_auth_key_length} bytes"
    if policy.prf is not SrtpPrf.AES_CM:
        return f"SRTP PRF {policy.prf}"
    if policy.key_derivation_rate:
        return f"key derivation rate {policy.key_derivation_rate}"
    if policy.prefix_length:
        return f"a prefix of {policy.prefix_length} bytes"
    return None
