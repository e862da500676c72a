"""DH data payload (RFC 3830 section 6.4). Parsed and encoded; no MIKEY-TICKET message carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.fields import U8_MAX, check_length, check_range, registered
from sipmikey.mikey.kemac import Interval
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
        head = bytes((self.group,)) + self.value
        if self.spi is not None:
            validity, tail = KeyValidityType.SPI, bytes((len(self.spi),)) + self.spi
        elif self.interval is not None:
            validity = KeyValidityType.INTERVAL
            tail = b"".join(
                bytes((len(octets),)) + octets
                for octets in (self.interval.valid_from, self.interval.valid_to)
            )
        else:
            validity, tail = KeyValidityType.NULL, b""
        return head + bytes((self.reserved << 4 | validity,)) + tail

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
        spi = None
        interval = None
        if validity is KeyValidityType.SPI:
            spi = reader.take(reader.u8("SPI Length"), "SPI")
        elif validity is KeyValidityType.INTERVAL:
            valid_from = reader.take(reader.u8("VF Length"), "Valid From")
            interval = Interval(
                valid_from=valid_from, valid_to=reader.take(reader.u8("VT Length"), "Valid To")
            )
        return cls(group=group, value=value, reserved=octet >> 4, spi=spi, interval=interval)
