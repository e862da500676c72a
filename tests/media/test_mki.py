"""MKI insertion and removal: where it stands in the packet, for every profile, length and payload."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.context import SrtpContext
from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.rtcp.packets import Bye, ReceiverReport, SourceDescription, encode_compound
from sipmikey.media.rtp import RtpPacket
from tests.media.keys import PYTHON_PROFILES, SSRC, make_key

mkis = st.binary(min_size=1, max_size=128)
profiles = st.sampled_from(PYTHON_PROFILES)


@given(profile=profiles, mki=mkis, payload=st.binary(max_size=1000), sequence=st.integers(0, 65535))
def test_rtp_carries_the_mki_between_payload_and_tag(
    profile: str, mki: bytes, payload: bytes, sequence: int
) -> None:
    key = make_key(profile, mki=mki)
    plain = RtpPacket(payload_type=0, sequence=sequence, timestamp=1, ssrc=SSRC, payload=payload).encode()
    without = SrtpContext(replace(key, mki=b""), outbound=True).protect(plain)
    packet = SrtpContext(key, outbound=True).protect(plain)
    tag = key.profile.tag_length
    if key.profile.aead:
        assert packet == without + mki
    else:
        assert packet == without[:-tag] + mki + without[-tag:]
    assert SrtpContext(key, outbound=False).unprotect(packet) == plain


@given(profile=profiles, mki=mkis, name=st.text(max_size=40))
def test_rtcp_carries_the_mki_after_the_index(profile: str, mki: bytes, name: str) -> None:
    key = make_key(profile, mki=mki)
    plain = encode_compound(
        (ReceiverReport(ssrc=SSRC), SourceDescription.cname(SSRC, name), Bye(ssrcs=(SSRC,)))
    )
    without = SrtpContext(replace(key, mki=b""), outbound=True).protect_rtcp(plain)
    packet = SrtpContext(key, outbound=True).protect_rtcp(plain)
    tag = key.profile.rtcp_tag_length
    if key.profile.aead:
        # E flag and index are the last word before the MKI (RFC 7714 section 9.2).
        assert packet == without + mki
        assert packet[-len(mki) - 4] & 0x80
    else:
        assert packet == without[:-tag] + mki + without[-tag:]
        assert packet[-tag - len(mki) - 4] & 0x80
    assert SrtpContext(key, outbound=False).unprotect_rtcp(packet) == plain


@given(profile=profiles, mki=mkis, cut=st.integers(0, 400))
def test_a_truncated_packet_is_refused_and_nothing_else(profile: str, mki: bytes, cut: int) -> None:
    key = make_key(profile, mki=mki)
    plain = RtpPacket(payload_type=0, sequence=1, timestamp=1, ssrc=SSRC, payload=bytes(range(160))).encode()
    packet = SrtpContext(key, outbound=True).protect(plain)
    receiver = SrtpContext(key, outbound=False)
    if cut < len(packet):
        with pytest.raises(PacketRefused):
            receiver.unprotect(packet[:cut])


@given(profile=profiles, data=st.binary(max_size=1600))
def test_any_octets_are_refused_with_a_kind(profile: str, data: bytes) -> None:
    receiver = SrtpContext(make_key(profile, mki=b"\1"), outbound=False)
    for unprotect in (receiver.unprotect, receiver.unprotect_rtcp):
        with pytest.raises(PacketRefused) as caught:
            unprotect(data)
        assert isinstance(caught.value.error, SrtpError)
