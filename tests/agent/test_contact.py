"""Contact lists as redirections carry them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent.sip.contact import Contact, parse_contacts
from sipmikey.agent.sip.message import SipMessage
from sipmikey.call.reasons import AgentError


@pytest.mark.parametrize(
    ("value", "contacts"),
    [
        ("<sip:a@example.com>", [("sip:a@example.com", 1)]),
        ("sip:a@example.com;q=0.5", [("sip:a@example.com", 0.5)]),
        ("<sip:a@example.com;transport=tcp;q=0.2>", [("sip:a@example.com;transport=tcp;q=0.2", 1)]),
        ("<sip:a,b@example.com>;expires=5 ; Q = .25", [("sip:a,b@example.com", 0.25)]),
        (
            '"A, <sip:x@y>; q=0 \\" " <sip:a@example.com>;q=1.000, <tel:+1>;q=0',
            [("sip:a@example.com", 1), ("tel:+1", 0)],
        ),
        ('<sip:a@b>;x="1,;q=0",Bob <mailto:b@c>', [("sip:a@b", 1), ("mailto:b@c", 1)]),
        ("<sip:[2001:db8::1]:5070>", [("sip:[2001:db8::1]:5070", 1)]),
    ],
)
def test_contacts_are_read(value: str, contacts: list[tuple[str, float]]) -> None:
    assert parse_contacts(value) == tuple(Contact(uri=uri, q=q) for uri, q in contacts)


@pytest.mark.parametrize(
    "value",
    [
        "", "*", ",", "<sip:a@b>,", "<sip:a@b", '"a <sip:a@b>', "sip:a b@c", "<sip:a@b> x", "<>", "a",
        "<sip:a@b>;q=2", "<sip:a@b>;q", "<sip:a@b>;q=-1", "<sip:a@b>;q=١", "<sip:a\nb@c>", "sip:a;b<sip:c@d>",
    ],
)  # fmt: skip
def test_what_is_no_list_of_contacts_is_refused(value: str) -> None:
    with pytest.raises(AgentError, match="malformed Contact"):
        parse_contacts(value)


def test_all_header_fields_count_in_compact_form_too() -> None:
    head = "SIP/2.0 302 Moved\r\nm: <sip:a@b>, <sip:c@d>\r\nContact: <sip:e@f>\r\nCSeq: 1 INVITE\r\n\r\n"
    uris = [contact.uri for contact in SipMessage.parse(head).contacts()]
    assert uris == ["sip:a@b", "sip:c@d", "sip:e@f"]


PARTS = st.lists(
    st.sampled_from(["<", ">", '"', "\\", ",", ";", "q=", "0.5", "sip:a@b", " ", "\t", "tel:1", "*", "\n"])
    | st.characters(),
    max_size=30,
)


@given(PARTS.map("".join))
def test_nothing_but_a_typed_error_comes_of_any_text(value: str) -> None:
    with contextlib.suppress(AgentError):
        for contact in parse_contacts(value):
            assert 0 <= contact.q <= 1
            assert ":" in contact.uri


@given(
    st.lists(
        st.tuples(st.sampled_from(["sip:a,b@c", "sips:d;x=y@e;p=1,2", "tel:+1;z"]), st.integers(0, 1000)),
        min_size=1,
    ),
    st.text(st.characters(codec="ascii"), max_size=10),
)
def test_a_list_that_was_written_is_read_back(items: list[tuple[str, int]], name: str) -> None:
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    written = ", ".join(f"{quoted} <{uri}>;q={q / 1000:.3f};n={quoted}" for uri, q in items)
    assert [(contact.uri, round(contact.q * 1000)) for contact in parse_contacts(written)] == items
