"""A stream is cut into the messages that were put into it, however it was cut on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip.framing import LONGEST_MESSAGE, FramingError, StreamFramer, trimmed

bodies = st.binary(max_size=40)


def message(body: bytes) -> bytes:
    return b"OPTIONS sip:a@b SIP/2.0\r\nl: %d\r\nCall-ID: x\r\n\r\n" % len(body) + body


@given(st.lists(bodies, min_size=1, max_size=4), st.lists(st.integers(1, 60), min_size=1), st.booleans())
def test_messages_come_out_as_they_went_in(parts: list[bytes], cuts: list[int], pings: bool) -> None:
    sent = [message(body) for body in parts]
    stream = (b"\r\n\r\n" if pings else b"").join([b"", *sent])
    framer, at = StreamFramer(), 0
    found: list[bytes] = []
    for turn in range(len(stream)):
        if at >= len(stream):
            break
        size = cuts[turn % len(cuts)]
        found += framer.messages(stream[at : at + size])
        at += size
    assert found == sent
    assert framer.pings == (len(sent) if pings else 0)


@pytest.mark.parametrize(
    "octets",
    [
        b"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 999999999\r\n\r\n",
        b"x" * (LONGEST_MESSAGE + 1),
    ],
)
def test_a_stream_that_cannot_be_cut_is_refused(octets: bytes) -> None:
    with pytest.raises(FramingError):
        list(StreamFramer().messages(octets))


def test_what_follows_the_body_of_a_datagram_is_no_part_of_it() -> None:
    assert trimmed(message(b"1234") + b"more") == message(b"1234")
    assert trimmed(message(b"")) == message(b"")
    assert trimmed(b"no header") == b"no header"
