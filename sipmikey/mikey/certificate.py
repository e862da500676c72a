"""Public-key payloads: CERT, CHASH, PKE and SIGN (RFC 3830 sections 6.3, 6.5, 6.7, 6.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LocalError, UnsupportedHash
from sipmikey.mikey.fields import U8_MAX, U16_MAX, check_length, check_range, named, registered
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import CertType, HashFunc, PayloadType, PkeCache, SignatureType

PKE_DATA_MAX = 0x3FFF
"""The Data len field of PKE has 14 bits."""

SIGNATURE_MAX = 0x0FFF
"""The Signature len field of SIGN has 12 bits."""


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class CERT:
    """Certificate payload: DER, or the ASCII octets of a URL, of 0 to 65535 octets."""

    payload_type: ClassVar[PayloadType] = PayloadType.CERT

    cert_type: CertType | int
    data: bytes

    def __post_init__(self) -> None:
        check_range(self.cert_type, U8_MAX, "Cert Type")
        check_length(self.data, U16_MAX, "Certificate")

    def encode_body(self) -> bytes:
        return bytes((self.cert_type,)) + len(self.data).to_bytes(2, "big") + self.data

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        cert_type = named(CertType, reader.u8("Cert Type"))
        return cls(cert_type=cert_type, data=reader.take(reader.u16("Cert len"), "Certificate"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class CHASH:
    """Cert hash payload: the hash of the certificate used, as long as its function says."""

    payload_type: ClassVar[PayloadType] = PayloadType.CHASH

    hash_func: HashFunc
    hash: bytes

    def __post_init__(self) -> None:
        if len(self.hash) != self.hash_func.length:
            raise LocalError(f"a {self.hash_func.name} hash has {self.hash_func.length} octets")

    def encode_body(self) -> bytes:
        return bytes((self.hash_func,)) + self.hash

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        offset = reader.offset
        func = registered(
            HashFunc, reader.u8("Hash func"), field="Hash func", offset=offset, error=UnsupportedHash
        )
        return cls(hash_func=func, hash=reader.take(func.length, "Hash"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class PKE:
    """Envelope data payload: the encrypted envelope key, of 0 to 16383 octets."""

    payload_type: ClassVar[PayloadType] = PayloadType.PKE

    cache: PkeCache | int = PkeCache.NO_CACHE
    data: bytes

    def __post_init__(self) -> None:
        check_range(self.cache, 3, "C")
        check_length(self.data, PKE_DATA_MAX, "PKE Data")

    def encode_body(self) -> bytes:
        return (self.cache << 14 | len(self.data)).to_bytes(2, "big") + self.data

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        word = reader.u16("PKE Data len")
        return cls(cache=named(PkeCache, word >> 14), data=reader.take(word & PKE_DATA_MAX, "PKE Data"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class SIGN:
    """Signature payload, always last and without Next Payload: 0 to 4095 octets of signature."""

    payload_type: ClassVar[PayloadType] = PayloadType.SIGN

    signature_type: SignatureType | int
    signature: bytes

    def __post_init__(self) -> None:
        check_range(self.signature_type, 0xF, "S type")
        check_length(self.signature, SIGNATURE_MAX, "Signature")

    def encode_body(self) -> bytes:
        return (self.signature_type << 12 | len(self.signature)).to_bytes(2, "big") + self.signature

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        word = reader.u16("Signature len")
        return cls(
            signature_type=named(SignatureType, word >> 12),
            signature=reader.take(word & SIGNATURE_MAX, "Signature"),
        )
