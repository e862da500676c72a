"""V, ERR and the General Extension payload (RFC 3830 sections 6.9, 6.12, 6.15; RFC 4563; RFC 4567)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LocalError, MalformedMessage, UnsupportedMac
from sipmikey.mikey.fields import U8_MAX, U16_MAX, check_length, check_range, named, registered
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import ErrorNo, ExtensionType, KeyIdType, MacAlg, PayloadType


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class V:
    """Verification payload: a MAC as long as its algorithm says (0, 20 or 32 octets)."""

    payload_type: ClassVar[PayloadType] = PayloadType.V

    auth_alg: MacAlg
    mac: bytes

    def __post_init__(self) -> None:
        if len(self.mac) != self.auth_alg.length:
            raise LocalError(f"a {self.auth_alg.name} MAC has {self.auth_alg.length} octets")

    def encode_body(self) -> bytes:
        return bytes((self.auth_alg,)) + self.mac

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        offset = reader.offset
        auth_alg = registered(
            MacAlg, reader.u8("Auth alg"), field="Auth alg", offset=offset, error=UnsupportedMac
        )
        return cls(auth_alg=auth_alg, mac=reader.take(auth_alg.length, "Ver data"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class ERR:
    """Error payload. ``reserved`` has 16 bits; unregistered numbers stay integers."""

    payload_type: ClassVar[PayloadType] = PayloadType.ERR

    error_no: ErrorNo | int
    reserved: int = 0

    def __post_init__(self) -> None:
        check_range(self.error_no, U8_MAX, "Error no")
        check_range(self.reserved, U16_MAX, "Reserved")

    def encode_body(self) -> bytes:
        return bytes((self.error_no,)) + self.reserved.to_bytes(2, "big")

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        return cls(error_no=named(ErrorNo, reader.u8("Error no")), reserved=reader.u16("Reserved"))


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class EXT:
    """General Extension payload: 0 to 65535 octets of data."""

    payload_type: ClassVar[PayloadType] = PayloadType.EXT

    ext_type: ExtensionType | int
    data: bytes

    def __post_init__(self) -> None:
        check_range(self.ext_type, U8_MAX, "Type")
        check_length(self.data, U16_MAX, "Data")

    def encode_body(self) -> bytes:
        return bytes((self.ext_type,)) + len(self.data).to_bytes(2, "big") + self.data

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        ext_type = named(ExtensionType, reader.u8("Type"))
        return cls(ext_type=ext_type, data=reader.take(reader.u16("Length"), "Data"))


def sdp_ids(ext: EXT) -> tuple[str, ...]:
    """Return the key management protocol identifiers of an SDP IDs extension (RFC 4567 section 4.1.4)."""
    try:
        text = ext.data.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedMessage("the SDP IDs are not ASCII", field="EXT") from None
    return tuple(text.split(";"))


def sdp_ids_extension(identifiers: tuple[str, ...]) -> EXT:
    """Return the SDP IDs extension that lists *identifiers* in order."""
    return EXT(ext_type=ExtensionType.SDP_IDS, data=";".join(identifiers).encode("ascii"))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyId:
    """Key ID Type sub-payload (RFC 4563 section 4): 0 to 255 octets of identifier."""

    key_id_type: KeyIdType | int
    key_id: bytes

    def __post_init__(self) -> None:
        check_range(self.key_id_type, U8_MAX, "Key ID Type")
        check_length(self.key_id, U8_MAX, "Key ID")


def key_ids(ext: EXT) -> tuple[KeyId, ...]:
    """Return the sub-payloads of a Key ID extension; raise `MalformedMessage` where they overrun it."""
    reader = Reader(ext.data)
    found = []
    while reader.remaining:
        key_id_type = named(KeyIdType, reader.u8("Key ID Type"))
        found.append(KeyId(key_id_type=key_id_type, key_id=reader.take(reader.u8("Key ID Length"), "Key ID")))
    return tuple(found)


def key_id_extension(identifiers: tuple[KeyId, ...]) -> EXT:
    """Return the Key ID extension with *identifiers* in order."""
    data = b"".join(bytes((item.key_id_type, len(item.key_id))) + item.key_id for item in identifiers)
    return EXT(ext_type=ExtensionType.KEY_ID, data=data)
