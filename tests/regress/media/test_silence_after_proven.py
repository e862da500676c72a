"""PROVEN stays true: packets that stop, or stop verifying, are told, and the state leaves proven."""

from __future__ import annotations

import pytest

from sipmikey.call.events import Event, document
from sipmikey.call.inputs import StreamCount
from sipmikey.call.keying.agreement import Agreement, StreamKeys
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Tell
from sipmikey.call.settings import Patience
from sipmikey.call.streams import Streams

LOOKS = 6


def count(received: int, trouble: str = "") -> tuple[StreamCount, ...]:
    return (StreamCount(index=0, codec="PCMA", sent=9, received=received, lost=0, trouble=trouble),)


def protection(streams: Streams) -> str:
    return str(streams.protection)


def running_streams(patience: Patience, number: int = 1) -> tuple[Outbox, Streams]:
    """Return streams of an established call that have keys, and where they tell what happens."""
    out = Outbox("1")
    streams = Streams(out, patience)
    keys = tuple(
        StreamKeys(index=index, suite="AES", send_key=f"{index}1", receive_key=f"{index}2")
        for index in range(number)
    )
    for index in range(number):
        streams.created(index, without_keys=False)
    streams.key(Agreement(streams=keys), "", rekeyed=False)
    streams.established()
    return out, streams


def told(out: Outbox) -> list[Event]:
    return [output.event for output in out.drain() if isinstance(output, Tell)]


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [("", "media.stalled"), ("packets arrive that do not verify", "media.failed")],
)
def test_a_proven_stream_that_falls_silent_is_proven_no_longer(trouble: str, kind: str) -> None:
    out, streams = running_streams(Patience(silence=3.0))
    streams.counted(count(5))
    assert protection(streams) == "proven"
    told(out)
    for _ in range(LOOKS):
        streams.counted(count(5, trouble))
    (event,) = told(out)
    assert event.type == kind
    assert trouble in str(document(event)["detail"])
    assert protection(streams) == "keyed"
    streams.counted(count(6))
    assert [event.type for event in told(out)] == ["media.resumed"]
    assert protection(streams) == "proven"


def test_counts_that_begin_again_under_another_ssrc_are_not_silence() -> None:
    out, streams = running_streams(Patience(silence=3.0))
    streams.counted(count(1000))
    told(out)
    streams.key(
        Agreement(streams=(StreamKeys(index=0, suite="AES", send_key="3", receive_key="4"),)),
        "",
        rekeyed=True,
    )
    streams.keyed(0, count(1000)[0])
    for looked in range(1, 40):
        streams.counted(count(10 * looked))
    events = [document(event) for event in told(out)]
    assert [event["type"] for event in events] == ["media.rekeyed", "media.switched"]
    assert int(events[1]["received"]) >= 0
    assert protection(streams) == "proven"


def test_a_peer_that_is_gone_is_known_to_be_after_the_time_that_policy_names() -> None:
    out = Outbox("1")
    streams = Streams(out, Patience(silence=2.0, gone=4.0))
    streams.created(0, without_keys=False)
    streams.key(
        Agreement(streams=(StreamKeys(index=0, suite="AES", send_key="1", receive_key="2"),)),
        "",
        rekeyed=False,
    )
    streams.established()
    streams.counted(count(5))
    seen = []
    for _ in range(LOOKS):
        streams.counted(count(5))
        seen.append(streams.gone)
    assert seen == [False, False, False, True, True, True]


def counts(*received: int) -> tuple[StreamCount, ...]:
    return tuple(
        StreamCount(index=index, codec="PCMA", sent=9, received=number, lost=0)
        for index, number in enumerate(received)
    )


def test_a_stream_that_was_never_proven_hides_no_other_that_falls_silent() -> None:
    out, streams = running_streams(Patience(silence=2.0), 2)
    streams.counted(counts(5, 0))
    streams.unproven()
    told(out)
    for _ in range(LOOKS):
        streams.counted(counts(5, 0))
    assert [(event.type, getattr(event, "index", None)) for event in told(out)] == [("media.stalled", 0)]


def test_a_peer_that_never_sent_anything_is_gone_in_the_end_too() -> None:
    _, streams = running_streams(Patience(gone=4.0), 2)
    streams.unproven()
    seen = []
    for _ in range(LOOKS):
        streams.counted(counts(0, 0))
        seen.append(streams.gone)
    assert seen == [False, False, False, True, True, True]


def test_what_is_found_after_the_silence_was_told_is_told_as_well() -> None:
    out, streams = running_streams(Patience(silence=2.0))
    streams.counted(count(5))
    told(out)
    for trouble in ("", "", "", "clear RTP", "clear RTP", ""):
        streams.counted(count(5, trouble))
    assert [event.type for event in told(out)] == ["media.stalled", "media.failed"]
