"""Offers and answers of plain RTP: codecs, directions, m-lines that are not used (RFC 3264)."""

from __future__ import annotations

import pytest

from sipmikey.agent.asyncio_sip.media.description import agreed, answer, offer, read

CODECS = ("PCMA", "PCMU")


def described(*lines: str) -> str:
    head = ("v=0", "o=- 1 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0")
    return "\r\n".join((*head, *lines, ""))


def answered(theirs: str, *, held: bool = False, codecs: tuple[str, ...] = CODECS) -> str:
    return answer(read(theirs), "192.0.2.1", 7, codecs, held=held)


@pytest.mark.parametrize(
    ("theirs", "held", "ours"),
    [
        ("sendrecv", False, "sendrecv"),
        ("sendonly", False, "recvonly"),
        ("recvonly", False, "sendonly"),
        ("inactive", False, "inactive"),
        ("sendrecv", True, "sendonly"),
        ("sendonly", True, "inactive"),
    ],
)
def test_the_answer_has_the_direction_that_is_left(theirs: str, held: bool, ours: str) -> None:
    text = answered(described("m=audio 4000 RTP/SAVP 0", f"a={theirs}"), held=held)
    assert read(text)[0].direction == ours


def test_their_first_codec_that_we_have_is_taken_under_their_number() -> None:
    theirs = described("m=audio 4000 RTP/AVP 18 96 0", "a=rtpmap:96 PCMA/8000")
    text = answered(theirs)
    assert "m=audio 9 RTP/AVP 96\r\n" in text
    (one,) = agreed(text, theirs).values()
    assert (one.codec, one.remote) == ("PCMA", ("192.0.2.9", 4000))


def test_m_lines_that_do_not_fit_are_answered_with_port_0_in_their_places() -> None:
    theirs = described(
        "m=video 4000/2 RTP/AVP 97",
        "m=audio 5000 RTP/AVP 18",
        "m=audio 6000 udptl t38",
        "m=audio 7000 RTP/AVP 8",
    )
    assert [stream.port for stream in read(answered(theirs))] == [0, 0, 0, 9]
    assert list(agreed(answered(theirs), theirs)) == [3]


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF"])
def test_an_answer_keeps_the_profile_of_its_offer_and_so_do_later_offers(profile: str) -> None:
    """Without keys: RTP/SAVP and RTP/SAVPF are made of them (RFC 3264 section 6)."""
    (mine,) = read(answered(described(f"m=audio 4000 {profile.replace('AVP', 'SAVP')} 8")))
    assert mine.protocol == profile
    (again,) = read(offer("192.0.2.1", 7, [mine.protocol], CODECS, held=False))
    assert again.protocol == profile


@pytest.mark.parametrize(("ours", "theirs", "shared"), [(1, 1, True), (1, 0, False), (0, 1, False)])
def test_rtcp_shares_a_port_where_both_want_that(ours: int, theirs: int, shared: bool) -> None:
    offered = described("m=audio 4000 RTP/AVP 8", *["a=rtcp-mux"] * theirs)
    text = answer(read(offered), "192.0.2.1", 7, CODECS, held=False, shared=bool(ours))
    assert ("a=rtcp-mux" in text) is shared
    assert agreed(text, offered)[0].shared is shared


ICE = ("a=ice-ufrag:abcd", f"a=ice-pwd:{'p' * 22}")
HOST = "a=candidate:1 1 UDP 2130706431 192.0.2.9 4000 typ host"


@pytest.mark.parametrize(
    ("lines", "candidates"),
    [
        ((*ICE, HOST), 1),
        ((*ICE, HOST, "a=candidate:2 1 tcp 1 192.0.2.9 9 typ host tcptype active"), 1),
        ((*ICE, HOST, "a=candidate:2 1 udp 1 name.local 4000 typ host", "a=candidate:2 one"), 1),
        ((*ICE, HOST, "a=candidate:2 2 udp 1 192.0.2.10 70000 typ host"), 1),
        ((*ICE, HOST, "a=candidate:2 2 udp 1 192.0.2.9 4001 typ srflx raddr 10.0.0.1 rport \u0664"), 1),
        ((*ICE, HOST, "a=ice-mismatch"), None),
        ((*ICE, HOST.replace("4000", "4002")), None),
        ((HOST,), None),
        ((ICE[0], "a=ice-pwd:short", HOST), None),
        (ICE, None),
    ],
)
def test_ice_is_read_where_it_is_whole(lines: tuple[str, ...], candidates: int | None) -> None:
    """A description that somebody changed on the way, who does not know ICE, is one without ICE."""
    (stream,) = read(described("m=audio 4000 RTP/AVP 8", *lines))
    assert (None if stream.ice is None else len(stream.ice.candidates)) == candidates


@pytest.mark.parametrize("held", [False, True])
def test_an_offer_keeps_the_places_of_m_lines_that_are_not_used(held: bool) -> None:
    streams = read(offer("2001:db8::1", 7, ["RTP/AVP", "", "RTP/AVP"], CODECS, held=held))
    assert [bool(stream.port) for stream in streams] == [True, False, True]
    assert streams[0].direction == ("sendonly" if held else "sendrecv")
    assert streams[0].address == "2001:db8::1"


def test_nothing_is_sent_to_a_peer_that_does_not_listen() -> None:
    ours = offer("192.0.2.1", 7, ["RTP/AVP"], CODECS, held=False)
    for theirs in (
        described("m=audio 4000 RTP/AVP 8", "a=sendonly"),
        described("m=audio 4000 RTP/AVP 8", "c=IN IP4 0.0.0.0"),
    ):
        assert agreed(ours, theirs)[0].remote is None
    assert agreed(ours, described("m=audio 0 RTP/AVP 8")) == {}


def test_rtcp_goes_where_they_say() -> None:
    ours = offer("192.0.2.1", 7, ["RTP/AVP"], CODECS, held=False)
    theirs = described("m=audio 4000 RTP/AVP 8", "a=rtcp:4444 IN IP4 192.0.2.8")
    assert agreed(ours, theirs)[0].remote_rtcp == ("192.0.2.8", 4444)


@pytest.mark.parametrize(
    ("codec", "events"),
    [("OPUS", (112, 102)), ("G722", (111, 101)), ("PCMA", (111, 101)), ("PCMU", (111, 101))],
)
def test_telephone_events_have_the_clock_of_the_codec(codec: str, events: tuple[int, int]) -> None:
    ours = offer("192.0.2.1", 7, ["RTP/AVP"], ("PCMA", "OPUS", "G722", "PCMU"), held=False)
    number = dict(read(ours)[0].formats)[codec]
    maps = (
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:111 telephone-event/8000",
        "a=rtpmap:112 telephone-event/48000",
    )
    theirs = described(f"m=audio 4000 RTP/AVP {number} 111 112", *maps)
    assert agreed(ours, theirs)[0].event_types == events
    text = answered(theirs, codecs=(codec,))
    assert f"m=audio 9 RTP/AVP {number} {events[0]}\r\n" in text
    assert agreed(text, theirs)[0].event_types == (events[0], events[0])


def test_events_of_another_clock_are_not_taken() -> None:
    theirs = described(
        "m=audio 4000 RTP/AVP 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000",
    )  # fmt: skip
    text = answered(theirs, codecs=("OPUS",))
    assert "telephone-event" not in text
    assert agreed(text, theirs)[0].event_types == (None, None)
    assert "telephone-event/48000" not in offer("192.0.2.1", 7, ["RTP/AVP"], CODECS, held=False)


def test_a_clock_rate_of_any_length_is_read() -> None:
    theirs = described("m=audio 4000 RTP/AVP 8 101", f"a=rtpmap:101 telephone-event/{'8' * 5000}")
    assert agreed(answered(theirs), theirs)[0].event_types == (None, None)
