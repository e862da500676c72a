"""Key transport: KEMAC (RFC 3830 section 6.2) and its key data sub-payloads (sections 6.13 and 6.14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LocalError, MalformedMessage, UnsupportedEncryption, UnsupportedMac
from sipmikey.mikey.fields import U8_MAX, U16_MAX, check_length, registered
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import decode_chain, encode_chain, register
from sipmikey.mikey.registry import EncrAlg, KeyDataType, KeyValidityType, MacAlg, PayloadType
from sipmikey.mikey.secret import Secret
from sipmikey.native import native


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class KEMAC:
    """Key data transport payload: 0 to 65535 octets of (encrypted) key data, and a MAC of its algorithm."""

    payload_type: ClassVar[PayloadType] = PayloadType.KEMAC

    encr_alg: EncrAlg
    encr_data: bytes
    mac_alg: MacAlg = MacAlg.NULL
    mac: bytes = b""

    def __post_init__(self) -> None:
        check_length(self.encr_data, U16_MAX, "Encr data")
        if len(self.mac) != self.mac_alg.length:
            raise LocalError(f"a {self.mac_alg.name} MAC has {self.mac_alg.length} octets")

    def encode_body(self) -> bytes:
        return b"".join(
            (
                bytes((self.encr_alg,)),
                len(self.encr_data).to_bytes(2, "big"),
                self.encr_data,
                bytes((self.mac_alg,)),
                self.mac,
            )
        )

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        offset = reader.offset
        encr_alg = registered(
            EncrAlg, reader.u8("Encr alg"), field="Encr alg", offset=offset, error=UnsupportedEncryption
        )
        encr_data = reader.take(reader.u16("Encr data len"), "Encr data")
        offset = reader.offset
        mac_alg = registered(
            MacAlg, reader.u8("Mac alg"), field="Mac alg", offset=offset, error=UnsupportedMac
        )
        return cls(
            encr_alg=encr_alg, encr_data=encr_data, mac_alg=mac_alg, mac=reader.take(mac_alg.length, "MAC")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Key validity as a range (RFC 3830 section 6.14): 0 to 255 octets each."""

    valid_from: bytes
    valid_to: bytes

    def __post_init__(self) -> None:
        check_length(self.valid_from, U8_MAX, "Valid From")
        check_length(self.valid_to, U8_MAX, "Valid To")


def validity_type(spi: bytes | None, interval: Interval | None) -> KeyValidityType:
    """Return the KV field of a key with this SPI or interval (RFC 3830 section 6.13)."""
    if spi is not None:
        return KeyValidityType.SPI
    return KeyValidityType.NULL if interval is None else KeyValidityType.INTERVAL


def encode_validity(spi: bytes | None, interval: Interval | None) -> bytes:
    """Return key validity data (RFC 3830 section 6.14), empty for neither."""
    if spi is not None:
        return bytes((len(spi),)) + spi
    if interval is None:
        return b""
    fields = (interval.valid_from, interval.valid_to)
    return b"".join(bytes((len(octets),)) + octets for octets in fields)


def decode_validity(reader: Reader, kind: KeyValidityType) -> tuple[bytes | None, Interval | None]:
    """Read key validity data; return the SPI and the interval, of which at most one is there."""
    if kind is KeyValidityType.SPI:
        return reader.take(reader.u8("SPI Length"), "SPI"), None
    if kind is KeyValidityType.NULL:
        return None, None
    valid_from = reader.take(reader.u8("VF Length"), "Valid From")
    valid_to = reader.take(reader.u8("VT Length"), "Valid To")
    return None, Interval(valid_from=valid_from, valid_to=valid_to)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyData:
    """Key data sub-payload (RFC 3830 section 6.13, RFC 6043 section 6.2.1).

    ``key`` and ``salt`` have 0 to 65535 octets; ``salt`` is present exactly for the +SALT types. At most
    one of ``spi`` (0 to 255 octets, also called MKI) and ``interval`` gives the key validity.
    """

    payload_type: ClassVar[PayloadType] = PayloadType.KEY_DATA

    key_type: KeyDataType
    key: Secret
    salt: Secret | None = None
    spi: bytes | None = None
    interval: Interval | None = None

    def __post_init__(self) -> None:
        if len(self.key) > U16_MAX:
            raise LocalError(f"a key has at most {U16_MAX} octets")
        if self.key_type.has_salt != (self.salt is not None):
            raise LocalError(f"a {self.key_type.name} key has {'a' if self.key_type.has_salt else 'no'} salt")
        if self.salt is not None and len(self.salt) > U16_MAX:
            raise LocalError(f"a salt has at most {U16_MAX} octets")
        if self.spi is not None:
            check_length(self.spi, U8_MAX, "SPI")
            if self.interval is not None:
                raise LocalError("a key has an SPI or an interval, not both")

    @property
    def validity_type(self) -> KeyValidityType:
        """The KV field."""
        return validity_type(self.spi, self.interval)

    def encode_body(self) -> bytes:
        parts = [
            bytes((self.key_type << 4 | self.validity_type,)),
            len(self.key).to_bytes(2, "big"),
            self.key.reveal(),
        ]
        if self.salt is not None:
            parts += (len(self.salt).to_bytes(2, "big"), self.salt.reveal())
        parts.append(encode_validity(self.spi, self.interval))
        return b"".join(parts)

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        offset = reader.offset
        octet = reader.u8("Type and KV")
        key_type = registered(KeyDataType, octet >> 4, field="Key data Type", offset=offset)
        validity = registered(KeyValidityType, octet & 0xF, field="KV", offset=offset)
        key = Secret(reader.take(reader.u16("Key data len"), "Key data"))
        salt = None
        if key_type.has_salt:
            salt = Secret(reader.take(reader.u16("Salt len"), "Salt data"))
        spi, interval = decode_validity(reader, validity)
        return cls(key_type=key_type, key=key, salt=salt, spi=spi, interval=interval)


@native
def encode_key_data(keys: Sequence[KeyData]) -> bytes:
    """Return the plaintext of a KEMAC: key data sub-payloads, the last with Next Payload 0."""
    return encode_chain(keys)[1]


@native
def decode_key_data(plaintext: bytes, limits: Limits) -> tuple[KeyData, ...]:
    """Read the plaintext of a KEMAC; offsets in errors count from its first octet.

    Only key data sub-payloads may be there (RFC 6043 section 4.2.1.5); the first has no number of its
    own. An empty plaintext holds no keys.
    """
    if not plaintext:
        return ()
    payloads, offsets = decode_chain(PayloadType.KEY_DATA, Reader(plaintext), limits, "KEMAC")
    keys = []
    for payload, offset in zip(payloads, offsets, strict=True):
        if not isinstance(payload, KeyData):
            raise MalformedMessage("only key data stands in a KEMAC", field="KEMAC", offset=offset)
        keys.append(payload)
    return tuple(keys)
