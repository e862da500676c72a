"""Header fields other than addresses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip import (
    Replaces,
    SipMalformed,
    parse_media_type,
    parse_reason,
    parse_replaces,
    parse_via,
    parse_warning,
    quote,
    unquote,
)


def test_replaces_names_a_dialog() -> None:
    found = parse_replaces("98732@host;to-tag=r33;FROM-TAG = ff87;early-only")
    assert found == Replaces(call_id="98732@host", to_tag="r33", from_tag="ff87", early_only=True)


@pytest.mark.parametrize(
    "value",
    ["", "a", "a;to-tag=1", "a;to-tag=1;from-tag=2;to-tag=3", "a,b;to-tag=1;from-tag=2",
     '"a;to-tag=1";from-tag=2', ";to-tag=1;from-tag=2"],
)  # fmt: skip
def test_what_names_no_dialog_is_refused(value: str) -> None:
    with pytest.raises(SipMalformed):
        parse_replaces(value)


def test_a_via() -> None:
    found = parse_via('SIP / 2.0 / TCP [2001:db8::1]:5060;rport;branch="z9;x";received=::1')
    assert (found.transport, found.sent_by, found.branch) == ("tcp", "[2001:db8::1]:5060", "z9;x")
    assert found.parameter("rport") == ""
    assert found.parameter("ttl") is None


@pytest.mark.parametrize("value", ["", "SIP/2.0", "SIP/1.0/UDP h", "SIP/2.0/UDP h x", "SIP/2.0/UDP"])
def test_what_is_not_a_via_is_refused(value: str) -> None:
    with pytest.raises(SipMalformed):
        parse_via(value)


def test_a_media_type() -> None:
    found = parse_media_type('Multipart / Mixed ; Boundary="a;b"')
    assert (found.name, found.parameter("boundary")) == ("multipart/mixed", "a;b")


@given(st.text(max_size=30))
def test_a_quoted_string_is_read_back(text: str) -> None:
    assert unquote(quote(text)) == text
    assert parse_warning(f"399 h {quote(text)}").text == text
    assert parse_reason(f"SIP;text={quote(text)}").text == text


ODD = st.lists(
    st.sampled_from(['"', "\\", ";", "=", ",", "<", ">", " ", "SIP/2.0/", "399 h ", "to-tag", "a/b"])
    | st.characters()
)  # fmt: skip


@given(ODD.map("".join))
def test_nothing_but_a_typed_error_comes_of_any_text(text: str) -> None:
    for read in (parse_replaces, parse_via, parse_media_type, parse_warning, parse_reason):
        with contextlib.suppress(SipMalformed):
            assert read(text) is not None
