"""Packets that verify, but come under another SSRC than before, are told: PROVEN is of one source."""

from __future__ import annotations

import ctypes

import pytest

from sipmikey.agent.pjsua.library import LIBRARY
from sipmikey.agent.pjsua.native.source import PeerSource
from sipmikey.call.events import document
from sipmikey.call.inputs import StreamCount
from sipmikey.call.keying.agreement import Agreement, StreamKeys
from sipmikey.call.outbox import Outbox
from sipmikey.call.settings import Patience
from sipmikey.call.streams import Streams
from tests.regress.media.test_silence_after_proven import told


def heard(streams: Streams, received: int, source: int) -> None:
    streams.counted((StreamCount(index=0, codec="PCMA", sent=9, received=received, lost=0, source=source),))


@pytest.fixture
def out() -> Outbox:
    return Outbox("1")


@pytest.fixture
def streams(out: Outbox) -> Streams:
    """A proven stream of the source 7."""
    made = Streams(out, Patience(silence=3.0))
    made.created(0, without_keys=False)
    stream = StreamKeys(index=0, suite="AES", send_key="1", receive_key="2")
    made.key(Agreement(streams=(stream,)), "", rekeyed=False)
    made.established()
    heard(made, 5, 7)
    assert made.protection == "proven"
    told(out)
    return made


def test_another_source_is_told_and_the_state_leaves_proven_for_as_long(
    out: Outbox, streams: Streams
) -> None:
    heard(streams, 6, 9)
    (event,) = told(out)
    assert event.type == "media.failed"
    assert "00000009, not 00000007" in str(document(event)["detail"])
    assert streams.protection == "keyed"
    heard(streams, 7, 9)
    assert [event.type for event in told(out)] == ["media.resumed"]
    assert streams.protection == "proven"


@pytest.mark.parametrize("sources", [(7, 7, 7), (0, 7, 0), (0, 0, 0)])
def test_the_same_source_and_one_that_is_not_known_are_no_news(
    sources: tuple[int, ...], out: Outbox, streams: Streams
) -> None:
    for number, source in enumerate(sources):
        heard(streams, 6 + number, source)
    assert told(out) == []


def test_a_stream_that_is_made_again_may_have_another_source(out: Outbox, streams: Streams) -> None:
    """As on hold, with other keys, or for another branch: nobody promised the same SSRC."""
    streams.created(0, without_keys=False)
    heard(streams, 6, 9)
    assert told(out) == []


def test_this_pjmedia_tells_the_source() -> None:
    ctypes.CDLL(LIBRARY).pj_init()
    assert PeerSource().known
