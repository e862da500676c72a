"""Addresses in header fields, alone and in lists."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip import SipMalformed, address_uri, parse_address, parse_addresses, quote


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
def test_a_list_is_split_at_its_own_commas_only(value: str, contacts: list[tuple[str, float]]) -> None:
    assert [(found.uri, found.q) for found in parse_addresses(value)] == contacts


@pytest.mark.parametrize(
    "value",
    [
        "", "*", ",", "<sip:a@b>,", "<sip:a@b", '"a <sip:a@b>', "sip:a b@c", "<sip:a@b> x", "<>", "a",
        "<sip:a@b>;q=2", "<sip:a@b>;q", "<sip:a@b>;q=-1", "<sip:a@b>;q=١", "<sip:a\nb@c>", "sip:a;b<sip:c@d>",
        "<sip:a@b> <sip:c@d>", '"a" "b" <sip:a@b>', '"a" b <sip:a@b>', "<<sip:a@b>>", "<sip:a\x01@b>",
        "sip:a@b?Subject=x", "<sip:a@b>;;x", "<sip:a@b>;=x",
    ],
)  # fmt: skip
def test_what_is_not_a_list_of_addresses_is_refused(value: str) -> None:
    with pytest.raises(SipMalformed):
        parse_addresses(value)


@pytest.mark.parametrize("value", ["<sip:a@b>, <sip:c@d>", "sip:a@b, sip:c@d", '"x", <sip:a@b>', "*"])
def test_from_and_to_have_one_address(value: str) -> None:
    with pytest.raises(SipMalformed):
        parse_address(value)


@pytest.mark.parametrize(
    ("value", "name", "uri", "tag"),
    [
        ("<sip:a@example.com>;tag=1", "", "sip:a@example.com", "1"),
        ("sip:a@example.com;tag=1", "", "sip:a@example.com", "1"),
        ('"Alice <sip:m@x>" <sip:a@b>', "Alice <sip:m@x>", "sip:a@b", ""),
        ('"\\"<sip:x@y>" <sip:a@b;transport=tcp>', '"<sip:x@y>', "sip:a@b;transport=tcp", ""),
        ('";tag=false" <sip:b@c;tag=no>;x;TAG = true', ";tag=false", "sip:b@c;tag=no", "true"),
        ("Bob Jr. (home) <sip:b@c>", "Bob Jr. (home)", "sip:b@c", ""),
        ("Jürgen <sip:j@c>", "Jürgen", "sip:j@c", ""),
        ('"Smith,sip:fax@x,x" <sip:alice@x>', "Smith,sip:fax@x,x", "sip:alice@x", ""),
        ("  <sip:a@b>  ;  tag = x  ", "", "sip:a@b", "x"),
        ('"Quoted \\\\" <sip:a@b>', "Quoted \\", "sip:a@b", ""),
    ],
)
def test_one_address(value: str, name: str, uri: str, tag: str) -> None:
    found = parse_address(value)
    assert (found.display_name, found.uri, found.tag) == (name, uri, tag)
    assert address_uri(value) == uri


PARTS = st.lists(
    st.sampled_from(["<", ">", '"', "\\", ",", ";", "q=", "0.5", "sip:a@b", " ", "\t", "tel:1", "*", "\n"])
    | st.characters(),
    max_size=30,
)


@given(PARTS.map("".join))
def test_nothing_but_a_typed_error_comes_of_any_text(value: str) -> None:
    for read in (parse_addresses, lambda text: (parse_address(text),)):
        with contextlib.suppress(SipMalformed):
            for found in read(value):
                assert 0 <= found.q <= 1
                assert ":" in found.uri


@given(
    st.lists(
        st.tuples(st.sampled_from(["sip:a,b@c", "sips:d;x=y@e;p=1,2", "tel:+1;z"]), st.integers(0, 1000)),
        min_size=1,
    ),
    st.text(max_size=10),
)
def test_a_list_that_was_written_is_read_back(items: list[tuple[str, int]], name: str) -> None:
    written = ", ".join(f"{quote(name)} <{uri}>;q={q / 1000:.3f};n={quote(name)}" for uri, q in items)
    found = parse_addresses(written)
    assert [(each.uri, round(each.q * 1000)) for each in found] == items
    assert {each.display_name for each in found} == {name}
    assert {each.parameter("n") for each in found} == {name}
