"""The a=key-mgmt attribute: what goes in comes out, and nothing else is taken for it."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.mikey.errors import PeerError
from sipmikey.sdp.attribute import (
    decode,
    find,
    format_value,
    insert,
    parse_value,
    protocol_ids,
    strip,
)
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import KeyMgmtDuplicate, KeyMgmtMalformed
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO, texts

MAX = 65_535


@given(texts(), st.data(), st.binary(min_size=1, max_size=300))
def test_what_is_put_in_comes_out_and_no_other_line_changes(
    text: str, data: st.DataObject, message: bytes
) -> None:
    document = Document.parse(text)
    level = data.draw(st.sampled_from(document.levels()))
    edited = Document.parse(str(insert(document, level, message)))
    (found,) = find(edited, max_bytes=MAX)
    assert (found.protocol, found.level, found.message) == ("mikey", level, message)
    assert str(strip(edited)) == text


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_mutated_attribute_raises_nothing_but_a_peer_error(message: bytes, data: st.DataObject) -> None:
    value = format_value(message).partition(":")[2]
    at = data.draw(st.integers(0, len(value) - 1))
    cut = data.draw(st.integers(0, 2))
    mutated = value[:at] + data.draw(st.text(max_size=3)) + value[at + cut :]
    try:
        protocol, found = parse_value(mutated, max_bytes=MAX)
    except PeerError:
        return
    if protocol == "mikey":
        assert format_value(found) == "key-mgmt:" + mutated.removeprefix(" ")


@given(st.text(), st.text())
def test_no_value_raises_anything_but_a_peer_error(value: str, line: str) -> None:
    for text in (f"v=0\r\na=key-mgmt:{value}\r\n", f"v=0\r\na=key-mgmt{line}\r\n"):
        with contextlib.suppress(PeerError):
            find(Document.parse(text), max_bytes=MAX)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "mikey",
        "mikey ",
        "mikey  AQ4F",
        "  mikey AQ4F",
        "mikey\tAQ4F",
        "mikey AQ4F ",
        "mikey AQ4F\n",
        "mikey AQ4",
        "mikey AQ4F=",
        "mikey AQ=",
        "mikey AQ=F",
        "mikey A===",
        "mikey ====",
        "mikey AR==",
        "mikey AQ4-",
        "mikey AQ4_",
        "mikey AQ 4F",
        "mikey AQ4F AQ4F",
        "mi-key AQ4F",
        "mikey: AQ4F",
        "mikey AQ4\N{FULLWIDTH LATIN CAPITAL LETTER F}",
    ],
)
def test_a_malformed_value_is_refused(value: str | None) -> None:
    with pytest.raises(KeyMgmtMalformed):
        parse_value(value, max_bytes=MAX)


def test_one_leading_space_is_allowed() -> None:
    assert parse_value(" mikey AQ4F", max_bytes=MAX) == ("mikey", b"\x01\x0e\x05")


@pytest.mark.parametrize(("size", "fits"), [(15, True), (16, True), (17, False), (18, False), (19, False)])
def test_the_message_is_bounded(size: int, fits: bool) -> None:
    data = base64.b64encode(bytes(size)).decode()
    if fits:
        assert decode(data, max_bytes=16) == bytes(size)
    else:
        with pytest.raises(KeyMgmtMalformed):
            decode(data, max_bytes=16)


def test_protocol_identifiers_are_case_sensitive() -> None:
    document = Document.parse(AUDIO).with_attribute(None, "key-mgmt:MIKEY AQ4F")
    (found,) = find(document, max_bytes=MAX)
    assert (found.protocol, found.message) == ("MIKEY", b"")


def test_the_attribute_name_is_case_sensitive() -> None:
    document = Document.parse(AUDIO).with_attribute(None, "Key-Mgmt:mikey AQ4F")
    assert find(document, max_bytes=MAX) == ()


def test_other_protocols_are_left_alone_and_listed_in_order() -> None:
    document = Document.parse(AUDIO_VIDEO)
    for attribute in ("keyp1 727gkd Oshsu", "mikey AQ4F", "keyp2 x"):
        document = document.with_attribute(None, f"key-mgmt:{attribute}")
    document = document.with_attribute(1, "key-mgmt:mikey AQ4F")
    found = find(document, max_bytes=MAX)
    assert protocol_ids(found) == ("keyp1", "mikey", "keyp2")
    assert [attribute.message for attribute in found] == [b"", b"\x01\x0e\x05", b"", b"\x01\x0e\x05"]
    assert [attribute.level for attribute in found if attribute.protocol == "mikey"] == [None, 1]


@pytest.mark.parametrize("level", [None, 0, 1])
def test_two_of_a_level_are_refused(level: int | None) -> None:
    document = Document.parse(AUDIO_VIDEO)
    document = insert(insert(document, level, b"one"), level, b"one")
    with pytest.raises(KeyMgmtDuplicate):
        find(document, max_bytes=MAX)
