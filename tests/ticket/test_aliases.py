"""Forms of an identity that people do not tell apart, in the strict direction."""

from __future__ import annotations

import pytest

from sipmikey.call.policy import CallPolicy, SecurityMode
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.identity import aliases, canonical

PREFERRED, REQUIRED, OFF = SecurityMode.PREFERRED, SecurityMode.REQUIRED, SecurityMode.OFF


@pytest.mark.parametrize(
    "uri",
    [
        "sip:bob@example.com", "sips:bob@example.com", "sip:bob@example.com.", "sip:bob@example.com:5070",
        "sip:Bob@Example.COM",
    ],
)  # fmt: skip
def test_a_contact_that_demands_more_counts_in_every_form(uri: str) -> None:
    policy = CallPolicy(security=PREFERRED, contacts={"sip:bob@example.com": REQUIRED})
    assert policy.security_for(canonical(uri)) is REQUIRED
    other_way = CallPolicy(security=PREFERRED, contacts={canonical(uri): REQUIRED})
    assert other_way.security_for("sip:bob@example.com") is REQUIRED


def test_a_telephone_number_is_the_same_behind_any_host() -> None:
    policy = CallPolicy(security=PREFERRED, contacts={"tel:+15550123": REQUIRED})
    assert policy.security_for("sip:+1-555-0123@gw.example.com") is REQUIRED
    assert policy.security_for("sip:15550123@gw.example.com") is PREFERRED


def test_a_contact_that_demands_less_counts_in_its_own_form_only() -> None:
    policy = CallPolicy(security=REQUIRED, contacts={"sip:bob@example.com": OFF})
    assert policy.security_for("sip:bob@example.com") is OFF
    for uri in ("sips:bob@example.com", "sip:bob@example.com:5070", "sip:Bob@example.com"):
        assert policy.security_for(canonical(uri)) is REQUIRED


def test_others_are_others() -> None:
    assert not aliases("sip:bob@example.com") & aliases("sip:rob@example.com")
    assert not aliases("sip:bob@example.com") & aliases("sip:bob@example.org")
    assert aliases("sip:bob@[2001:db8::1]:5070") == aliases("sips:bob@[2001:db8::1]")


def test_letters_beyond_ascii_do_not_become_a_host() -> None:
    for uri in (
        "sip:bob@\u212aexample.com",
        "tel:\u212a",
        "s\u0131p:bob@example.com",
        "sip:\udc99@example.com",
    ):
        with pytest.raises(LocalError):
            canonical(uri)
    assert canonical("sip:%FF@example.com") != canonical("sip:%FE@example.com")


def test_a_bracket_within_is_not_a_uri() -> None:
    with pytest.raises(LocalError):
        canonical("x<other:a<sip:b@example.com")
