"""RTP packets: encoding, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.rtp import MalformedPacket, Packetiser, RtpPacket, is_rtcp, timestamps_apart
from sipmikey.mikey.errors import LocalError

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=u16,
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=400),
    marker=st.booleans(),
    csrcs=st.lists(u32, max_size=15).map(tuple),
    extension=st.none()
    | st.tuples(u16, st.integers(0, 20).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))),
    padding=st.integers(0, 255),
)


@given(packets)
def test_what_is_encoded_parses_to_the_same(packet: RtpPacket) -> None:
    assert RtpPacket.parse(packet.encode()) == packet


@given(timestamp=u32, turns=st.integers(0, 3), apart=st.integers(-(1 << 31), (1 << 31) - 1))
def test_the_distance_of_timestamps_is_the_shorter_way_around(timestamp: int, turns: int, apart: int) -> None:
    before = timestamp + (turns << 32)
    assert timestamps_apart((before + apart) & 0xFFFFFFFF, before) == apart


@given(st.binary(max_size=300))
def test_any_octets_parse_or_are_refused(data: bytes) -> None:
    try:
        packet = RtpPacket.parse(data)
    except MalformedPacket:
        return
    assert RtpPacket.parse(packet.encode()) == packet


def test_the_octets_of_a_packet() -> None:
    packet = RtpPacket(
        payload_type=8,
        sequence=0x1234,
        timestamp=0x01020304,
        ssrc=0xCAFEBABE,
        payload=b"abc",
        marker=True,
        csrcs=(1,),
        extension=(0xBEDE, b"\x10\xff\x00\x00"),
        padding=1,
    )
    expected = "b1 88 1234 01020304 cafebabe 00000001 bede 0001 10ff0000 616263 01"
    assert packet.encode() == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        ("80", "RTP header"),
        ("40" + "00" * 11, "RTP header"),
        ("81" + "00" * 11, "RTP CSRC list"),
        ("90" + "00" * 11, "RTP header extension"),
        ("90" + "00" * 11 + "bede0001", "RTP header extension"),
        ("a0" + "00" * 12, "RTP padding"),
        ("a0" + "00" * 11 + "02", "RTP padding"),
    ],
)
def test_a_malformed_packet_names_its_field(octets: str, field: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        RtpPacket.parse(bytes.fromhex(octets))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "change",
    [
        {"payload_type": 128},
        {"sequence": 65536},
        {"timestamp": -1},
        {"csrcs": (0,) * 16},
        {"extension": (0, b"abc")},
        {"padding": 256},
    ],
)
def test_what_does_not_fit_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        RtpPacket(**{"payload_type": 0, "sequence": 0, "timestamp": 0, "ssrc": 0, **change})  # type: ignore[arg-type]


def test_a_packetiser_numbers_wraps_and_marks_talk_spurts() -> None:
    packetiser = Packetiser(ssrc=7, payload_type=8, samples=160, sequence=0xFFFF, timestamp=0xFFFFFFFF)
    made = [RtpPacket.parse(packetiser.next_packet(bytes(160))) for _ in range(2)]
    packetiser.skip()
    made.append(RtpPacket.parse(packetiser.next_packet(bytes(80))))
    assert [(p.sequence, p.timestamp, p.marker) for p in made] == [
        (0xFFFF, 0xFFFFFFFF, True),
        (0, 159, False),
        (1, 479, True),
    ]
    assert (packetiser.packets, packetiser.octets) == (3, 400)


@given(packets)
def test_rtcp_and_rtp_are_told_apart_on_one_port(packet: RtpPacket) -> None:
    # RFC 5761 section 4: payload types 64 to 95 are not used on a shared port.
    assert is_rtcp(packet.encode()) == (packet.marker and 64 <= packet.payload_type <= 95)
    assert not is_rtcp(b"")
