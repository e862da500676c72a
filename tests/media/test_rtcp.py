"""RTCP packets: encoding, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.rtcp.packets import (
    Bye,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    UnknownRtcp,
    encode_compound,
    ntp_timestamp,
    parse_compound,
)
from sipmikey.media.rtp import MalformedPacket
from sipmikey.mikey.errors import LocalError

u32 = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(
        ReportBlock,
        ssrc=u32,
        fraction_lost=st.integers(0, 255),
        lost=st.integers(-(1 << 23), (1 << 23) - 1),
        highest=u32,
        jitter=u32,
        last_sr=u32,
        delay=u32,
    ),
    max_size=31,
).map(tuple)
reports = st.builds(
    SenderReport,
    ssrc=u32,
    ntp=st.integers(0, (1 << 64) - 1),
    rtp_timestamp=u32,
    packets=u32,
    octets=u32,
    blocks=blocks,
) | st.builds(ReceiverReport, ssrc=u32, blocks=blocks)
others = (
    st.builds(
        SourceDescription,
        ssrc=u32,
        items=st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=255)), max_size=4).map(tuple),
    )
    | st.builds(Bye, ssrcs=st.lists(u32, max_size=31).map(tuple), why=st.binary(max_size=255))
    | st.builds(
        UnknownRtcp,
        packet_type=st.integers(204, 255),
        count=st.integers(0, 31),
        body=st.integers(0, 30).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    )
)


def parse_or_refuse(octets: bytes) -> tuple[RtcpPacket, ...]:
    """The packets of *octets*, none when they are refused; any other error fails the test."""
    try:
        return parse_compound(octets)
    except MalformedPacket:
        return ()


@given(reports, st.lists(others, max_size=4))
def test_what_is_encoded_parses_to_the_same(first, more) -> None:
    chain = (first, *more)
    octets = encode_compound(chain)
    assert len(octets) % 4 == 0
    assert parse_compound(octets) == chain


@given(reports, st.lists(others, max_size=2), st.data())
def test_every_truncation_is_refused_or_ends_between_packets(first, more, data) -> None:
    octets = encode_compound((first, *more))
    cut = data.draw(st.integers(0, len(octets) - 1))
    if found := parse_or_refuse(octets[:cut]):
        assert encode_compound(found) == octets[:cut]


@given(st.binary(max_size=200))
def test_any_octets_parse_or_are_refused(data: bytes) -> None:
    parse_or_refuse(data)


@given(first=st.sampled_from((0x80, 0x81, 0xA1)), kind=st.integers(200, 204), body=st.binary(max_size=64))
def test_a_right_header_before_any_octets_parses_or_is_refused(first: int, kind: int, body: bytes) -> None:
    body = body[: len(body) // 4 * 4]
    report = ReceiverReport(ssrc=1).encode()
    parse_or_refuse(report + bytes((first, kind, 0, len(body) // 4)) + body)


def test_the_octets_of_a_compound() -> None:
    octets = encode_compound(
        (
            SenderReport(ssrc=1, ntp=2, rtp_timestamp=3, packets=4, octets=5),
            SourceDescription.cname(1, "a@b"),
            Bye(ssrcs=(1,), why=b"bye"),
        )
    )
    assert octets == bytes.fromhex(
        "80c80006 00000001 0000000000000002 00000003 00000004 00000005"
        "81ca0003 00000001 0103614062 000000"
        "81cb0002 00000001 03627965"
    )


def test_padding_of_the_last_packet_is_taken_off() -> None:
    report = ReceiverReport(ssrc=1).encode()
    padded = b"\xa1\xcb\x00\x02\x00\x00\x00\x01\x00\x00\x00\x04"
    assert parse_compound(report + padded)[1] == Bye(ssrcs=(1,))


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        ("", "RTCP compound"),
        ("80", "RTCP header"),
        ("40c90001 00000001", "RTCP header"),
        ("80c90002 00000001", "RTCP header"),
        ("81c90001 00000001", "RTCP report blocks"),
        ("80c80001 00000001", "RTCP SR"),
        ("80c90000", "RTCP RR"),
        ("80c90001 00000001 81ca0002 00000001 01ff0000", "RTCP SDES item"),
        ("80c90001 00000001 81cb0002 00000001 04616263", "RTCP BYE reason"),
        ("80c90001 00000001 a1cb0001 00000001", "RTCP padding"),
        ("81ca0002 00000001 01016100", "RTCP compound"),
    ],
)
def test_a_malformed_packet_names_its_field(octets: str, field: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        parse_compound(bytes.fromhex(octets))
    assert caught.value.field == field


def test_a_compound_begins_with_a_report() -> None:
    with pytest.raises(LocalError):
        encode_compound((Bye(ssrcs=(1,)),))


def test_ntp_time() -> None:
    assert ntp_timestamp(0) == 2_208_988_800 << 32
    assert ntp_timestamp(500_000_000) & 0xFFFFFFFF == 1 << 31
