"""DH data payload (RFC 3830 section 6.4). Parsed and encoded; no MIKEY-TICKET message carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.fields import U8_MAX, check_length, check_range, registered
from sipmikey.mikey.kemac import Interval, decode_validity, encode_validity, validity_type
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.payload import register
from sipmikey.mikey.registry import DhGroup, ErrorNo, KeyValidityType, PayloadType


class UnsupportedDhGroup(PeerError):
    """The DH group is unknown."""

    reason = "unsupported-dh-group"
    error_no = ErrorNo.INVALID_DH


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class DH:
    """DH value (192, 96 or 128 octets by group) with key validity; ``reserved`` has 4 bits."""

    payload_type: ClassVar[PayloadType] = PayloadType.DH

    group: DhGroup
    value: bytes
    reserved: int = 0
    spi: bytes | None = None
    interval: Interval | None = None

    def __post_init__(self) -> None:
        check_range(self.reserved, 0xF, "Reserv")
        if len(self.value) != self.group.length:
            raise LocalError(f"a {self.group.name} value has {self.group.length} octets")
        if self.spi is not None:
            check_length(self.spi, U8_MAX, "SPI")
            if self.interval is not None:
                raise LocalError("a DH value has an SPI or an interval, not both")

    def encode_body(self) -> bytes:
        octet = self.reserved << 4 | validity_type(self.spi, self.interval)
        head = bytes((self.group,)) + self.value + bytes((octet,))
        return head + encode_validity(self.spi, self.interval)

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        offset = reader.offset
        group = registered(
            DhGroup, reader.u8("DH-Group"), field="DH-Group", offset=offset, error=UnsupportedDhGroup
        )
        value = reader.take(group.length, "DH-value")
        offset = reader.offset
        octet = reader.u8("KV")
        validity = registered(KeyValidityType, octet & 0xF, field="KV", offset=offset)
        spi, interval = decode_validity(reader, validity)
        return cls(group=group, value=value, reserved=octet >> 4, spi=spi, interval=interval)
