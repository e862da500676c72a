"""Contacts by what is typed, and links that ask first."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.mikey.errors import LocalError
from sipmikey.phone.links import link_target
from sipmikey.phone.people import Contact, completions, find, to_dial
from sipmikey.phone.text import Text

BOB = Contact(identity="sip:bob@example.com", name="Bob Berg", numbers=("tel:+46701234567",))
BO = Contact(identity="sip:bo@example.com", name="Bo Ek", favourite=True)
ANNA = Contact(identity="sip:anna@example.org")
BOOK = (ANNA, BO, BOB)


def test_completions_put_favourites_first() -> None:
    assert completions(BOOK, "bo") == (BO, BOB)
    assert completions(BOOK, "berg") == (BOB,)
    assert completions(BOOK, "example.org") == (ANNA,)
    assert completions(BOOK, "zzz") == ()


@pytest.mark.parametrize(
    ("typed", "uri"),
    [
        ("sip:carol@example.com", "sip:carol@example.com"),
        ("carol@example.com", "sip:carol@example.com"),
        ("bob berg", "sip:bob@example.com"),
        ("berg", "sip:bob@example.com"),
        ("+46 70 1", "sip:+46701@example.com"),
        ("carol", "sip:carol@example.com"),
    ],
)
def test_what_is_typed_is_a_uri_a_name_or_a_user_of_the_own_domain(typed: str, uri: str) -> None:
    assert to_dial(BOOK, typed, domain="example.com") == uri


@pytest.mark.parametrize("typed", ["", "  ", "carol", "sip:"])
def test_what_means_nothing_is_refused(typed: str) -> None:
    with pytest.raises(LocalError):
        to_dial(BOOK, typed)


def test_a_contact_is_found_by_each_of_its_numbers() -> None:
    assert find(BOOK, "tel:+46-70-1234567") == BOB
    assert find(BOOK, "SIP:bob@EXAMPLE.com:5060") == BOB


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("sip:bob@example.com", "sip:bob@example.com"),
        ("SIP://bob@example.com", "sip:bob@example.com"),
        ("tel:+46-70-123", "sip:+4670123@example.com"),
        ("sip:bob@example.com;transport=tcp?Subject=x", "sip:bob@example.com"),
    ],
)
def test_a_link_names_whom_to_call_and_nothing_else(link: str, target: str) -> None:
    assert link_target(link, domain="example.com") == target


@pytest.mark.parametrize(
    "link", ["http://example.com", "sip:", "tel:xyz", "sip:a b@c", "sip:b\n@c", "x" * 999]
)
def test_other_links_are_refused(link: str) -> None:
    with pytest.raises(LocalError):
        link_target(link)


@given(st.text(max_size=60))
def test_no_link_fails_otherwise(link: str) -> None:
    with contextlib.suppress(LocalError):
        assert link_target(link).partition(":")[0] in ("sip", "sips", "tel")


def test_a_text_is_translated_with_its_values_and_survives_a_faulty_translation() -> None:
    inner = Text("busy")
    text = Text("{name} is {state}", {"name": "Bob", "state": inner})
    german = {"{name} is {state}": "{name} ist {state}", "busy": "besetzt"}
    assert text.render(lambda message: german[message]) == "Bob ist besetzt"
    assert text.render(lambda message: "{nome}" if "{" in message else message) == "Bob is busy"
    assert str(Text("{name}", {"name": f"e{chr(0x301) * 200}va"})) == f"e{chr(0x301) * 3}va"
    assert len(str(Text("{name}", {"name": "go " * 9000}))) < 1100
    assert str(Text("{name}", {"name": "a\x1b[2Jb"})) == "a?[2Jb"
