"""Bodies of several parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip import SipMalformed, SipMessage, parse_media_type, parts

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
LOCATION = "<presence/>"


def message(kind: str, body: str) -> SipMessage:
    return SipMessage.parse(f"INVITE sip:a@b SIP/2.0\r\nContent-Type: {kind}\r\n\r\n{body}")


@pytest.mark.parametrize(
    "body",
    [
        f"--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--x--\r\n",
        f"preamble\r\n--x\r\nc: Application/SDP;charset=utf-8\r\n\r\n{SDP}\r\n--x--\r\nepilogue",
        f"--x\r\nContent-Type: text/xml\r\n\r\n{LOCATION}\r\n--x\r\n"
        f"Content-Type: application/sdp\r\nContent-Disposition: session\r\n\r\n{SDP}\r\n--x--",
        f"--x  \r\nContent-ID: <1>\r\nContent-Type:\r\n application/sdp\r\n\r\n{SDP}\r\n--x\r\n\r\ntext\r\n",
        f"--x\nContent-Type: application/sdp\n\n{SDP}\n--x--",
        f"--x\r\n\r\n{LOCATION}\r\n--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}",
    ],
)
@pytest.mark.parametrize("kind", ["multipart/mixed;boundary=x", 'Multipart/Related; type=a; boundary = "x"'])
def test_the_description_is_found_among_the_parts(kind: str, body: str) -> None:
    found = message(kind, body)
    assert found.sdp.strip() == SDP.strip()
    assert found.has_sdp


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/mixed", SDP),
        ('multipart/mixed;boundary=""', f"--\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n----"),
        ("multipart/mixed;boundary=x", SDP),
        ("multipart/mixed;boundary=x", f"--x--\r\n--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}"),
        ("multipart/mixed;boundary=x", f"--xy\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--xy--"),
        ("multipart/mixed;boundary=x", f"--x\r\nContent-Type: application/sdp+x\r\n\r\n{SDP}\r\n--x--"),
        ("text/plain", SDP),
        ("application/sdp", ""),
        ("sdp", SDP),
    ],
)
def test_what_is_not_a_description_is_not_taken_for_one(kind: str, body: str) -> None:
    assert not message(kind, body).has_sdp


def test_the_description_of_several_parts_can_be_changed() -> None:
    body = f"--x\r\n\r\n{LOCATION}\r\n--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--x--\r\n"
    changed = message("multipart/mixed;boundary=x", body).with_sdp(lambda sdp: sdp.replace("s=-", "s=x"))
    assert changed.content.decode() == body.replace("s=-", "s=x")


def test_a_type_without_a_boundary_is_refused() -> None:
    with pytest.raises(SipMalformed, match="boundary"):
        list(parts(parse_media_type("multipart/mixed"), b""))


@given(st.lists(st.binary(max_size=30).filter(lambda octets: b"--x" not in octets), min_size=1, max_size=4))
def test_parts_that_were_written_are_read_back(contents: list[bytes]) -> None:
    body = b"".join(b"\r\n--x\r\nContent-Type: a/b\r\n\r\n" + octets for octets in contents) + b"\r\n--x--"
    found = list(parts(parse_media_type("multipart/mixed;boundary=x"), body))
    assert [part.content for part in found] == contents
    assert {part.kind for part in found} == {"a/b"}


@given(st.binary(max_size=200))
def test_any_octets_can_be_looked_through(octets: bytes) -> None:
    assert all(isinstance(part.kind, str) for part in parts(parse_media_type("m/x;boundary=x"), octets))
