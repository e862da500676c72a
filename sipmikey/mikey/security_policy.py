"""Security Policy payload SP (RFC 3830 section 6.10) and SRTP policies (section 6.10.1, RFC 7714)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import (
    InvalidSecurityPolicy,
    LimitExceeded,
    LocalError,
    MalformedMessage,
    UnsupportedSecurityPolicy,
)
from sipmikey.mikey.fields import U8_MAX, U16_MAX, check_length, check_range, named
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import (
    FecOrder,
    PayloadType,
    ProtType,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyParam:
    """One Type/Length/Value of an SP payload: 0 to 255 octets of value."""

    param_type: SrtpParam | int
    value: bytes

    def __post_init__(self) -> None:
        check_range(self.param_type, U8_MAX, "SP param type")
        check_length(self.value, U8_MAX, "SP param value")


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class SP:
    """Security Policy payload: a numbered policy of one security protocol."""

    payload_type: ClassVar[PayloadType] = PayloadType.SP

    policy_no: int
    prot_type: ProtType | int
    params: tuple[PolicyParam, ...]

    def __post_init__(self) -> None:
        check_range(self.policy_no, U8_MAX, "Policy no")
        check_range(self.prot_type, U8_MAX, "Prot type")
        if sum(2 + len(param.value) for param in self.params) > U16_MAX:
            raise LocalError("the policy parameters do not fit their length field")

    def encode_body(self) -> bytes:
        tlvs = b"".join(bytes((param.param_type, len(param.value))) + param.value for param in self.params)
        return bytes((self.policy_no, self.prot_type)) + len(tlvs).to_bytes(2, "big") + tlvs

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        policy_no = reader.u8("Policy no")
        prot_type = named(ProtType, reader.u8("Prot type"))
        inner = reader.sub(reader.u16("Policy param length"), "Policy param")
        params: list[PolicyParam] = []
        while inner.remaining:
            if len(params) >= limits.policy_parameters:
                raise LimitExceeded(
                    f"more than {limits.policy_parameters} parameters", field="SP", offset=inner.offset
                )
            number = inner.u8("SP param type")
            param_type = named(SrtpParam, number) if prot_type == ProtType.SRTP else number
            value = inner.take(inner.u8("SP param length"), "SP param value")
            params.append(PolicyParam(param_type=param_type, value=value))
        return cls(policy_no=policy_no, prot_type=prot_type, params=tuple(params))


AES_CM_SALT_LENGTH = 14
AES_GCM_SALT_LENGTH = 12
HMAC_SHA_1_KEY_LENGTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpPolicy:
    """An SRTP policy with SRTP's defaults filled in (RFC 3711 section 8.2). All lengths in bytes.

    ``session_encr_key_length`` is also the master key length (RFC 3830 section 6.10.1).
    ``key_derivation_rate`` is in packets, 0 for never.
    """

    encr_alg: SrtpEncrAlg = SrtpEncrAlg.AES_CM
    session_encr_key_length: int = 16
    auth_alg: SrtpAuthAlg = SrtpAuthAlg.HMAC_SHA_1
    session_auth_key_length: int = HMAC_SHA_1_KEY_LENGTH
    session_salt_length: int = AES_CM_SALT_LENGTH
    prf: SrtpPrf = SrtpPrf.AES_CM
    key_derivation_rate: int = 0
    srtp_encryption: bool = True
    srtcp_encryption: bool = True
    fec_order: FecOrder = FecOrder.FEC_SRTP
    srtp_authentication: bool = True
    auth_tag_length: int = 10
    prefix_length: int = 0
    aead_tag_length: int = 16

    @property
    def is_aead(self) -> bool:
        """True where the cipher authenticates by itself (AES-GCM, RFC 7714)."""
        return self.encr_alg is SrtpEncrAlg.AES_GCM

    @classmethod
    def aes_cm(cls, key_length: int = 32, *, auth_tag_length: int = 10) -> Self:
        """AES-CM with HMAC-SHA-1: *key_length* 16 or 32, *auth_tag_length* 10 or 4 bytes."""
        return cls(session_encr_key_length=key_length, auth_tag_length=auth_tag_length)

    @classmethod
    def aes_gcm(cls, key_length: int = 32) -> Self:
        """AES-GCM with a 16-byte tag: *key_length* 16 or 32 bytes."""
        return cls(
            encr_alg=SrtpEncrAlg.AES_GCM,
            session_encr_key_length=key_length,
            auth_alg=SrtpAuthAlg.NULL,
            session_auth_key_length=0,
            session_salt_length=AES_GCM_SALT_LENGTH,
            srtp_authentication=False,
            auth_tag_length=0,
        )

    def params(self) -> tuple[PolicyParam, ...]:
        """Return the parameters that say this policy in full."""
        kinds = SrtpParam
        values: list[tuple[SrtpParam, int]] = [
            (kinds.ENCR_ALG, self.encr_alg),
            (kinds.SESSION_ENCR_KEY_LENGTH, self.session_encr_key_length),
            (kinds.AUTH_ALG, self.auth_alg),
            (kinds.SESSION_AUTH_KEY_LENGTH, self.session_auth_key_length),
            (kinds.SESSION_SALT_LENGTH, self.session_salt_length),
            (kinds.PRF, self.prf),
            (kinds.KEY_DERIVATION_RATE, self.key_derivation_rate),
            (kinds.SRTP_ENCRYPTION, self.srtp_encryption),
            (kinds.SRTCP_ENCRYPTION, self.srtcp_encryption),
            (kinds.SRTP_AUTHENTICATION, self.srtp_authentication),
        ]
        if self.is_aead:
            values = [pair for pair in values if pair[0] is not kinds.SESSION_AUTH_KEY_LENGTH]
            values.append((kinds.AEAD_TAG_LENGTH, self.aead_tag_length))
        else:
            values.append((kinds.AUTH_TAG_LENGTH, self.auth_tag_length))
        if self.prefix_length:
            values.append((kinds.PREFIX_LENGTH, self.prefix_length))
        return tuple(PolicyParam(param_type=kind, value=_octets(kind, value)) for kind, value in values)

    def payload(self, policy_no: int) -> SP:
        """Return this policy as the SP payload numbered *policy_no*."""
        return _payload(self, policy_no)

    @classmethod
    def from_payload(cls, sp: SP) -> Self:
        """Read the policy of an SP payload.

        Raises `UnsupportedSecurityPolicy` for another protocol than SRTP, `InvalidSecurityPolicy` for a
        parameter that is unknown, twice given, out of range or at odds with another.
        """
        if sp.prot_type != ProtType.SRTP:
            raise UnsupportedSecurityPolicy(f"Prot type {sp.prot_type} is not SRTP", field="SP")
        given = _given(sp)
        gcm = given.get(SrtpParam.ENCR_ALG) == SrtpEncrAlg.AES_GCM
        default = cls.aes_gcm(16) if gcm else cls()
        try:
            policy = cls(
                encr_alg=SrtpEncrAlg(given.get(SrtpParam.ENCR_ALG, default.encr_alg)),
                session_encr_key_length=given.get(
                    SrtpParam.SESSION_ENCR_KEY_LENGTH, default.session_encr_key_length
                ),
                auth_alg=SrtpAuthAlg(given.get(SrtpParam.AUTH_ALG, default.auth_alg)),
                session_auth_key_length=given.get(
                    SrtpParam.SESSION_AUTH_KEY_LENGTH, default.session_auth_key_length
                ),
                session_salt_length=given.get(SrtpParam.SESSION_SALT_LENGTH, default.session_salt_length),
                prf=SrtpPrf(given.get(SrtpParam.PRF, default.prf)),
                key_derivation_rate=given.get(SrtpParam.KEY_DERIVATION_RATE, default.key_derivation_rate),
                srtp_encryption=_flag(given, SrtpParam.SRTP_ENCRYPTION, default.srtp_encryption),
                srtcp_encryption=_flag(given, SrtpParam.SRTCP_ENCRYPTION, default.srtcp_encryption),
                fec_order=FecOrder(given.get(SrtpParam.FEC_ORDER, default.fec_order)),
                srtp_authentication=_flag(given, SrtpParam.SRTP_AUTHENTICATION, default.srtp_authentication),
                auth_tag_length=given.get(SrtpParam.AUTH_TAG_LENGTH, default.auth_tag_length),
                prefix_length=given.get(SrtpParam.PREFIX_LENGTH, default.prefix_length),
                aead_tag_length=given.get(SrtpParam.AEAD_TAG_LENGTH, default.aead_tag_length),
            )
        except ValueError as error:
            raise InvalidSecurityPolicy(f"policy {sp.policy_no}: {error}", field="SP") from None
        policy.check(sp.policy_no)
        return policy

    def check(self, policy_no: int) -> None:
        """Raise `InvalidSecurityPolicy` for a combination SRTP does not define."""
        wrong = None
        if self.is_aead:
            if self.session_encr_key_length not in (16, 32):
                wrong = "AES-GCM has keys of 16 or 32 bytes"
            elif self.session_salt_length != AES_GCM_SALT_LENGTH:
                wrong = "AES-GCM has a salt of 12 bytes"
            elif self.aead_tag_length != 16:
                wrong = "AES-GCM has a tag of 16 bytes"
        else:
            if self.encr_alg is not SrtpEncrAlg.NULL and self.session_encr_key_length not in (16, 24, 32):
                wrong = "AES has keys of 16, 24 or 32 bytes"
            elif self.session_salt_length > AES_CM_SALT_LENGTH:
                wrong = "the salt has at most 14 bytes"
            elif (
                self.auth_alg is SrtpAuthAlg.HMAC_SHA_1
                and self.session_auth_key_length != HMAC_SHA_1_KEY_LENGTH
            ):
                wrong = "HMAC-SHA-1 has a key of 20 bytes"
            elif self.auth_alg is SrtpAuthAlg.HMAC_SHA_1 and not 4 <= self.auth_tag_length <= 20:
                wrong = "the authentication tag has 4 to 20 bytes"
        if wrong is not None:
            raise InvalidSecurityPolicy(
                f"policy {policy_no}: {wrong}", field="SP", section="RFC 3711 section 8.2"
            )


@lru_cache(maxsize=256)
def _payload(policy: SrtpPolicy, policy_no: int) -> SP:
    """Few policies are in use, and each goes into message after message."""
    return SP(policy_no=policy_no, prot_type=ProtType.SRTP, params=policy.params())


def _octets(kind: SrtpParam, value: int) -> bytes:
    size = 1 if kind is not SrtpParam.KEY_DERIVATION_RATE else max(1, (value.bit_length() + 7) // 8)
    return int(value).to_bytes(size, "big")


def _given(sp: SP) -> dict[int, int]:
    given: dict[int, int] = {}
    for param in sp.params:
        kind = param.param_type
        what = f"policy {sp.policy_no}, parameter {int(kind)}"
        if not isinstance(kind, SrtpParam):
            raise InvalidSecurityPolicy(f"{what} is unknown", field="SP")
        if kind in given:
            raise InvalidSecurityPolicy(f"{what} is given twice", field="SP")
        longest = 8 if kind is SrtpParam.KEY_DERIVATION_RATE else 1
        if not 1 <= len(param.value) <= longest:
            raise InvalidSecurityPolicy(f"{what} has {len(param.value)} octets", field="SP")
        given[kind] = int.from_bytes(param.value, "big")
    return given


def _flag(given: dict[int, int], kind: SrtpParam, default: bool) -> bool:
    value = given.get(kind, int(default))
    if value not in (0, 1):
        raise InvalidSecurityPolicy(f"{kind.name} is {value}, not 0 or 1", field="SP")
    return bool(value)


def policies_by_number(payloads: tuple[SP, ...]) -> dict[int, SP]:
    """Index SP payloads by Policy no; a number given twice raises `MalformedMessage`."""
    found: dict[int, SP] = {}
    for sp in payloads:
        if sp.policy_no in found:
            raise MalformedMessage(f"Policy no {sp.policy_no} is given twice", field="SP")
        found[sp.policy_no] = sp
    return found
