"""rtpdump files: the format and its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.rtp import MalformedPacket
from sipmikey.media.rtpdump import RtpDump, RtpDumpPacket, parse_rtpdump
from sipmikey.mikey.errors import LimitExceeded, LocalError

recordings = st.builds(
    RtpDump,
    packets=st.lists(
        st.builds(
            RtpDumpPacket,
            offset_ms=st.integers(0, 0xFFFFFFFF),
            packet=st.binary(min_size=1, max_size=300),
            rtcp=st.booleans(),
        ),
        max_size=5,
    ).map(tuple),
    host=st.sampled_from(("127.0.0.1", "2001:db8::1", "example.org")),
    port=st.integers(0, 65535),
    start_us=st.integers(0, (1 << 32) * 1_000_000 - 1),
)


@given(recordings)
def test_what_is_written_reads_the_same(recording: RtpDump) -> None:
    assert parse_rtpdump(recording.encode()) == recording


@given(recordings, st.data())
def test_every_truncation_is_refused_or_ends_between_packets(recording: RtpDump, data) -> None:
    octets = recording.encode()
    cut = data.draw(st.integers(0, len(octets) - 1))
    try:
        found = parse_rtpdump(octets[:cut])
    except MalformedPacket:
        return
    assert found.encode() == octets[:cut]


@given(st.binary(max_size=200))
def test_any_octets_after_the_first_line_read_or_are_refused(data: bytes) -> None:
    try:
        found = parse_rtpdump(b"#!rtpplay1.0 h/0\n" + data)
    except MalformedPacket:
        return
    assert sum(8 + len(item.packet) for item in found.packets) == len(data) - 16


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        (b"", "rtpdump first line"),
        (b"#!rtpplay1.0 h/0\n" + bytes(15), "rtpdump header"),
        (b"#!rtpplay1.0 h/0\n" + bytes(17), "rtpdump packet header"),
        (b"#!rtpplay1.0 h/0\n" + bytes(24), "rtpdump packet"),
        (b"#!rtpplay1.0 h/0\n" + bytes(16) + b"\0\x09\0\xff\0\0\0\0x", "rtpdump packet"),
    ],
)
def test_a_malformed_file_names_its_field(octets: bytes, field: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        parse_rtpdump(octets)
    assert caught.value.field == field


def test_limits() -> None:
    recording = RtpDump(packets=(RtpDumpPacket(offset_ms=0, packet=b"x"),) * 3)
    with pytest.raises(LimitExceeded):
        parse_rtpdump(recording.encode(), max_packets=2)
    for change in ({"offset_ms": 1 << 32}, {"packet": b""}, {"packet": bytes(65528)}):
        with pytest.raises(LocalError):
            RtpDumpPacket(**{"offset_ms": 0, "packet": b"x", **change})  # type: ignore[arg-type]


def test_the_octets_of_a_file() -> None:
    # struct RD_hdr_t (start.tv_sec, start.tv_usec, source, port, padding) and RD_packet_t (length, plen,
    # offset) of rtptools' rtpdump.h, in network byte order.
    recording = RtpDump(
        packets=(
            RtpDumpPacket(offset_ms=0, packet=b"\x80\x08"),
            RtpDumpPacket(offset_ms=1020, packet=b"\x80\xc8\x00\x01", rtcp=True),
        ),
        host="192.0.2.1",
        port=4000,
        start_us=1_700_000_000_250_000,
    )
    assert recording.encode() == b"#!rtpplay1.0 192.0.2.1/4000\n" + bytes.fromhex(
        "6553f100 0003d090 00000000 0fa0 0000  000a 0002 00000000 8008  000c 0000 000003fc 80c80001"
    )
