"""HDR and the CS ID maps, written out by hand (RFC 3830 section 6.1, RFC 4563, RFC 6043 section 6.1)."""

from __future__ import annotations

import pytest

from sipmikey.mikey.errors import (
    LimitExceeded,
    LocalError,
    MalformedMessage,
    UnsupportedDataType,
    UnsupportedPrf,
)
from sipmikey.mikey.header import GenericIdEntry, Header, SrtpIdEntry, SrtpSessionData
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import CsIdMapType, DataType, PrfFunc, ProtType

REQUEST = Header(
    data_type=DataType.REQUEST_INIT_PSK, v=True, prf=PrfFunc.HMAC_SHA_256, csb_id=0xCAFE0001,
    map_type=CsIdMapType.EMPTY,
)  # fmt: skip
TRANSFER = Header(
    data_type=DataType.TRANSFER_INIT, prf=PrfFunc.MIKEY_1, csb_id=1, map_type=CsIdMapType.GENERIC_ID,
    crypto_sessions=(
        GenericIdEntry(cs_id=1, policies=(0, 7), session_data=bytes.fromhex("11223344"), spi=b"\xab\xcd"),
        GenericIdEntry(cs_id=2, prot_type=9, s=True),
    ),
)  # fmt: skip
OLD = Header(
    data_type=DataType.PSK_INIT, prf=PrfFunc.MIKEY_1, csb_id=2, map_type=CsIdMapType.SRTP_ID,
    crypto_sessions=(SrtpIdEntry(policy_no=3, ssrc=0x01020304, roc=5),),
)  # fmt: skip

CASES = [
    ("Empty map", REQUEST, "01 0b 00 81 cafe0001 00 01"),
    (
        "GENERIC-ID, two sessions", TRANSFER,
        "01 0e 00 00 00000001 02 02"
        " 01 00 02 00 07 0004 11223344 02 abcd"
        " 02 09 80 0000 00",
    ),
    ("SRTP-ID, one session", OLD, "01 00 00 00 00000002 01 00 03 01020304 00000005"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "header", "octets"), CASES, ids=[case[0] for case in CASES])
def test_encodes_and_decodes(name, header, octets):
    raw = bytes.fromhex(octets.replace(" ", ""))
    assert Message.build(header, ()).raw == raw
    assert Message.parse(raw).header == header


@pytest.mark.parametrize(("name", "header", "octets"), CASES, ids=[case[0] for case in CASES])
def test_every_truncation_is_refused(name, header, octets):
    raw = bytes.fromhex(octets.replace(" ", ""))
    for cut in range(len(raw)):
        with pytest.raises(MalformedMessage) as refusal:
            Message.parse(raw[:cut])
        assert refusal.value.field
        assert refusal.value.offset <= cut  # type: ignore[operator]


@pytest.mark.parametrize(
    ("offset", "value", "error", "field"),
    [
        (0, 0, MalformedMessage, "HDR version"),
        (0, 2, MalformedMessage, "HDR version"),
        (1, 10, UnsupportedDataType, "data type"),
        (1, 19, UnsupportedDataType, "data type"),
        (2, 18, MalformedMessage, "message next payload"),
        (2, 22, MalformedMessage, "message next payload"),
        (2, 255, MalformedMessage, "message next payload"),
        (3, 2, UnsupportedPrf, "PRF func"),
        (3, 0xFF, UnsupportedPrf, "PRF func"),
        (9, 3, MalformedMessage, "CS ID map type"),
    ],
)
def test_unknown_value_is_refused_with_field_and_offset(offset, value, error, field):
    raw = bytearray(Message.build(REQUEST, ()).raw)
    raw[offset] = value
    with pytest.raises(error) as refusal:
        Message.parse(bytes(raw))
    assert refusal.value.field == field
    assert refusal.value.offset == (10 if field == "message next payload" else offset)


def test_flag_v_and_prf_share_an_octet():
    raw = bytearray(Message.build(REQUEST, ()).raw)
    raw[3] = 0x80
    header = Message.parse(bytes(raw)).header
    assert (header.v, header.prf) == (True, PrfFunc.MIKEY_1)


class TestSessionData:
    def entry(self, octets: str, *, s: bool = False) -> GenericIdEntry:
        return GenericIdEntry(cs_id=1, s=s, session_data=bytes.fromhex(octets))

    def test_ssrc_alone(self):
        data = SrtpSessionData.of(self.entry("deadbeef"))
        assert data == SrtpSessionData(ssrc=0xDEADBEEF)
        assert data.encode() == bytes.fromhex("deadbeef")

    def test_with_roc_and_seq(self):
        data = SrtpSessionData.of(self.entry("00000000 00000102 fffe", s=True))
        assert data == SrtpSessionData(ssrc=0, roc=0x102, seq=0xFFFE)
        assert data.s
        assert data.encode() == bytes.fromhex("00000000 00000102 fffe")

    def test_omitted(self):
        assert SrtpSessionData.of(self.entry("")) is None

    @pytest.mark.parametrize(
        ("octets", "s"),
        [("", True), ("deadbeef", True), ("00000000000001020003", False), ("dead", False), ("00" * 11, True)],
    )
    def test_length_that_disagrees_with_the_s_flag(self, octets, s):
        with pytest.raises(MalformedMessage, match="CS ID 1"):
            SrtpSessionData.of(self.entry(octets, s=s))

    def test_roc_without_seq_cannot_be_said(self):
        with pytest.raises(LocalError):
            SrtpSessionData(ssrc=1, roc=2)


class TestInvalidObjects:
    @pytest.mark.parametrize(
        "build",
        [
            lambda: GenericIdEntry(cs_id=256),
            lambda: GenericIdEntry(cs_id=-1),
            lambda: GenericIdEntry(cs_id=1, policies=(0,) * 128),
            lambda: GenericIdEntry(cs_id=1, policies=(256,)),
            lambda: GenericIdEntry(cs_id=1, spi=bytes(256)),
            lambda: GenericIdEntry(cs_id=1, session_data=bytes(65536)),
            lambda: GenericIdEntry(cs_id=1, prot_type=ProtType.SRTP + 256),
            lambda: SrtpIdEntry(policy_no=0, ssrc=1 << 32, roc=0),
            lambda: Header(
                data_type=DataType.ERROR, prf=PrfFunc.MIKEY_1, csb_id=1 << 32, map_type=CsIdMapType.EMPTY
            ),
            lambda: Header(
                data_type=DataType.ERROR, prf=PrfFunc.MIKEY_1, csb_id=0, map_type=CsIdMapType.EMPTY,
                crypto_sessions=(GenericIdEntry(cs_id=1),),
            ),
            lambda: Header(
                data_type=DataType.ERROR, prf=PrfFunc.MIKEY_1, csb_id=0, map_type=CsIdMapType.GENERIC_ID,
                empty_map_sessions=1,
            ),
        ],
    )  # fmt: skip
    def test_cannot_exist(self, build):
        with pytest.raises(LocalError):
            build()


def test_crypto_sessions_are_limited():
    raw = Message.build(TRANSFER, ()).raw
    Message.parse(raw, Limits(crypto_sessions=2))
    with pytest.raises(LimitExceeded, match="#CS"):
        Message.parse(raw, Limits(crypto_sessions=1))
