"""Descriptions as text: what is not edited is not touched."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.mikey.errors import PeerError
from sipmikey.sdp.document import MAX_CHARACTERS, Document
from sipmikey.sdp.errors import SdpMalformed
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO, texts


@given(texts())
def test_a_document_is_the_text_it_was_parsed_from(text: str) -> None:
    assert str(Document.parse(text)) == text


@given(texts(), st.data())
def test_an_added_line_can_be_removed_again(text: str, data: st.DataObject) -> None:
    document = Document.parse(text)
    level = data.draw(st.sampled_from(document.levels()))
    added = document.with_attribute(level, "x-added:1")
    (number,) = [number for number, name, _ in added.attributes(level) if name == "x-added"]
    assert str(added.without_lines(frozenset({number}))) == text


def test_a_line_added_at_session_level_stands_before_the_first_m_line() -> None:
    lines = str(Document.parse(AUDIO).with_attribute(None, "x:1")).split("\r\n")
    assert lines.index("a=x:1") == lines.index("m=audio 4000 RTP/AVP 0 8 101") - 1


def test_a_line_added_at_media_level_stays_before_trailing_empty_lines() -> None:
    assert str(Document.parse(AUDIO + "\r\n").with_attribute(0, "x:1")) == AUDIO + "a=x:1\r\n\r\n"


def test_line_ends_are_kept() -> None:
    text = AUDIO.replace("\r\n", "\n")
    assert str(Document.parse(text).with_attribute(0, "x:1")) == text + "a=x:1\n"


def test_a_protocol_changes_alone() -> None:
    changed = str(Document.parse(AUDIO_VIDEO).with_protocol(1, "RTP/SAVPF"))
    assert changed == AUDIO_VIDEO.replace("RTP/AVPF", "RTP/SAVPF")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\r\n",
        "o=- 0 0 IN IP4 192.0.2.1\r\n",
        "v=0\rm=audio 1 RTP/AVP 0\r\n",
        "v=0\r\ns=a\0b\r\n",
        "v=0\r\nm=audio\r\n",
        "v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
        "v=0\r\nm=audio ٤ RTP/AVP 0\r\n",
        "v=0\r\nm=audio -1 RTP/AVP 0\r\n",
        "v=0\r\nm=audio 1  RTP/AVP 0\r\n",
        "v=0\r\n" + "a=" + "x" * MAX_CHARACTERS,
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SdpMalformed):
        Document.parse(text)


@given(st.text())
def test_no_text_raises_anything_but_a_peer_error(text: str) -> None:
    with contextlib.suppress(PeerError):
        assert str(Document.parse("v=0" + text)) == "v=0" + text
