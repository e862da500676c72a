"""m-lines and crypto sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import MediaMismatch, MediaNotSecured, SdpMalformed
from sipmikey.sdp.mapping import (
    Direction,
    check_answer,
    crypto_session_ids,
    keyed_streams,
    pair_sessions,
    secured,
    secured_like,
    streams,
)
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO, texts


def parsed(text: str) -> Document:
    return Document.parse(text)


def test_two_consecutive_crypto_sessions_per_m_line() -> None:
    assert [crypto_session_ids(index) for index in (0, 1, 126)] == [(1, 2), (3, 4), (253, 254)]
    with pytest.raises(LocalError):
        crypto_session_ids(127)


def test_what_is_read_of_an_m_line() -> None:
    audio, video = streams(parsed(AUDIO_VIDEO))
    assert (audio.index, audio.media, audio.mid, audio.ssrc) == (0, "audio", "01", None)
    assert (audio.active, audio.direction) == (True, Direction.SENDRECV)
    assert (video.index, video.media, video.mid, video.ssrc) == (1, "video", "v", 0xFFFFFFFF)
    assert (video.direction.sends, video.direction.receives) == (True, False)


def test_direction_is_inherited_from_the_session_level() -> None:
    text = AUDIO.replace("a=sendrecv\r\n", "").replace("a=tool", "a=inactive\r\na=tool")
    (audio,) = streams(parsed(text))
    assert audio.direction is Direction.INACTIVE
    assert not (audio.direction.sends)
    assert not (audio.direction.receives)


@pytest.mark.parametrize("ssrc", ["4294967296", "99999999999999999999", "", "-1"])
def test_an_ssrc_out_of_range_is_refused_or_not_read(ssrc: str) -> None:
    text = AUDIO + f"a=ssrc:{ssrc} cname:x\r\n"
    try:
        (audio,) = streams(parsed(text))
    except SdpMalformed:
        return
    assert audio.ssrc is None


def test_other_line_separators_hide_no_attribute_in_a_line() -> None:
    (audio,) = streams(parsed(AUDIO + "a=ssrc:7 x\x0ba=sendonly\r\na=recvonly\x85a=ssrc:1 x\r\n"))
    assert (audio.direction, audio.ssrc) == (Direction.SENDRECV, None)


def test_a_direction_is_a_whole_word() -> None:
    (audio,) = streams(parsed(AUDIO + "a=sendonly-not\r\n"))
    assert audio.direction is Direction.SENDRECV


@given(texts())
def test_only_active_plain_rtp_becomes_srtp(text: str) -> None:
    before = streams(parsed(text))
    after = streams(secured(parsed(text)))
    for old, new in zip(before, after, strict=True):
        if old.active and old.plain:
            assert new.protocol == old.protocol.replace("AVP", "SAVP")
        else:
            assert new == old
    assert len(str(secured(parsed(text)))) == len(text) + sum(s.active and s.plain for s in before)


def test_an_answer_takes_the_profile_of_the_offer_even_for_a_rejected_stream() -> None:
    offer = secured(parsed(AUDIO_VIDEO))
    answer = parsed(AUDIO_VIDEO.replace("video 4002/2", "video 0"))
    assert [stream.protocol for stream in streams(secured_like(answer, offer))] == ["RTP/SAVP", "RTP/SAVPF"]


def test_keyed_streams_are_the_active_secure_ones() -> None:
    text = (
        AUDIO.replace("RTP/AVP", "RTP/SAVP") + "m=video 0 RTP/AVP 31\r\nm=application 9 UDP/BFCP *\r\n"
        "m=video 6 RTP/SAVPF 31\r\n"
    )
    assert [s.index for s in keyed_streams(streams(parsed(text)), allow_other=True)] == [0, 3]
    with pytest.raises(MediaNotSecured, match="UDP/BFCP"):
        keyed_streams(streams(parsed(text)), allow_other=False)


@pytest.mark.parametrize(
    "text",
    [
        AUDIO,
        "v=0\r\n",
        AUDIO.replace("4000 RTP/AVP", "0 RTP/SAVP"),
        AUDIO.replace("RTP/AVP", "RTP/SAVP") + "m=video 4 RTP/AVP 31\r\n",
        AUDIO.replace("RTP/AVP", "UDP/TLS/RTP/SAVP"),
        AUDIO.replace("RTP/AVP", "rtp/savp"),
    ],
)
def test_clear_or_no_media_is_refused(text: str) -> None:
    with pytest.raises(MediaNotSecured):
        keyed_streams(streams(parsed(text)), allow_other=True)


SECURE = str(secured(parsed(AUDIO_VIDEO)))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (AUDIO.replace("RTP/AVP", "RTP/SAVP"), MediaMismatch),
        (SECURE + "m=audio 5 RTP/SAVP 0\r\n", MediaMismatch),
        (SECURE.replace("m=video", "m=audio"), MediaMismatch),
        (SECURE.replace("RTP/SAVP 0", "RTP/AVP 0"), MediaNotSecured),
        (SECURE.replace("RTP/SAVPF", "RTP/SAVP"), MediaNotSecured),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(answer: str, error: type[PeerError]) -> None:
    with pytest.raises(error):
        check_answer(streams(parsed(SECURE)), streams(parsed(answer)))


def test_an_answer_may_disable_a_stream_but_not_enable_one() -> None:
    disabled = streams(parsed(SECURE.replace("video 4002/2", "video 0")))
    check_answer(streams(parsed(SECURE)), disabled)
    with pytest.raises(MediaMismatch):
        check_answer(disabled, streams(parsed(SECURE)))


def test_sessions_are_paired_by_place_and_else_by_order() -> None:
    assert pair_sessions((1, 2, 3, 4), (0, 1)) == {0: (1, 2), 1: (3, 4)}
    assert pair_sessions((3, 4), (1,)) == {1: (3, 4)}
    assert pair_sessions((1, 2), (1,)) == {1: (1, 2)}
    assert pair_sessions((1, 2, 3, 4), (1,)) == {1: (3, 4)}
    assert pair_sessions((1, 2, 3, 4), (0, 2)) == {0: (1, 2), 2: (3, 4)}


@given(st.lists(st.integers(0, 255), max_size=6), st.sets(st.integers(0, 126), min_size=1, max_size=3))
def test_no_m_line_is_left_without_its_own_two_sessions(cs_ids: list[int], places: set[int]) -> None:
    indexes = tuple(sorted(places))
    try:
        pairs = pair_sessions(tuple(cs_ids), indexes)
    except MediaMismatch:
        return
    used = [cs_id for pair in pairs.values() for cs_id in pair]
    assert tuple(pairs) == indexes
    assert len(set(used)) == len(used)
    assert set(used) <= set(cs_ids)
