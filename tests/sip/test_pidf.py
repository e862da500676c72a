"""Presence documents (RFC 3863): what is written reads the same, and others' are read or refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip import SipMalformed
from sipmikey.sip.pidf import LONGEST, Presence, parse_presence

BOB = "sip:bob@example.com"
_HEAD = b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com">'
_notes = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=200
)  # XML has no controls, and white space is folded


@given(st.builds(Presence, entity=st.just(BOB), open=st.sampled_from([True, False, None]), note=_notes))
def test_what_is_written_reads_the_same(presence: Presence) -> None:
    assert parse_presence(presence.encode()) == presence


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), st.booleans())
def test_any_body_is_read_or_refused(body: bytes, headed: bool) -> None:
    with contextlib.suppress(SipMalformed):
        parse_presence(_HEAD + body + b"</presence>" if headed else body)


def test_the_example_of_the_rfc() -> None:
    """Section 4.3.3, shortened: the person is there where one of the devices is."""
    body = b"""<?xml version="1.0" encoding="UTF-8"?>
    <impp:presence xmlns:impp="urn:ietf:params:xml:ns:pidf" entity="pres:someone@example.com">
      <impp:tuple id="mj25di"><impp:status><impp:basic>closed</impp:basic></impp:status></impp:tuple>
      <impp:tuple id="ub93s3"><impp:status><impp:basic>open</impp:basic></impp:status>
        <impp:contact priority="0.8">im:someone@mobilecarrier.net</impp:contact>
        <impp:note xml:lang="en">Don't Disturb
          Please!</impp:note></impp:tuple>
    </impp:presence>"""
    assert parse_presence(body) == Presence(
        entity="pres:someone@example.com", open=True, note="Don't Disturb Please!"
    )


def test_the_note_of_a_person() -> None:
    person = b'<p:person xmlns:p="urn:ietf:params:xml:ns:pidf:data-model"><p:note>away</p:note></p:person>'
    assert parse_presence(_HEAD + person + b"</presence>") == Presence(entity=BOB, note="away")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"<presence", "body"),
        (b'<?xml version="1.0" encoding="none"?><a/>', "body"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + _HEAD + b"<note>&b;</note></presence>", "body"),
        (b"<presence entity='sip:bob@example.com'/>", "presence"),
        (_HEAD.replace(BOB.encode(), b" ") + b"</presence>", "entity"),
        (_HEAD + b"<tuple id='a'><status><basic>maybe</basic></status></tuple></presence>", "basic"),
        (_HEAD + b" " * LONGEST + b"</presence>", "body"),
    ],
)
def test_what_cannot_be_read_names_its_place(body: bytes, field: str) -> None:
    with pytest.raises(SipMalformed) as refused:
        parse_presence(body)
    assert refused.value.field == field
