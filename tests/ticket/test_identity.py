"""Identities: which pattern covers which, at the Responder and at the KMS alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.kms.policy.rules import Party, Rule
from sipmikey.kms.subscribers import Principal
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket import FULL_MODE, RequestedKey, TicketPolicy
from sipmikey.ticket.identity import canonical, matches, wildcards_of
from tests.ticket.parties import SUITE_256

SCHEMES = st.sampled_from(["sip", "sips", "SIP"])
USERS = st.text("ab*%@?;.", min_size=1, max_size=4)
HOSTS = st.sampled_from(
    ["x.example", "X.Example", "a.x.example", "x.example:5060", "x.example:5061", "[::1]"]
)
URIS = st.one_of(
    st.builds("{}:{}@{}".format, SCHEMES, USERS, HOSTS),
    st.builds("{}:{}".format, SCHEMES, HOSTS),
    st.builds("tel:+{}".format, st.text("0123456789-", min_size=1, max_size=6)),
)
PATTERNS = st.one_of(URIS, st.just("*"), st.builds("{}:*@{}".format, SCHEMES, HOSTS))


@pytest.mark.parametrize(
    ("pattern", "identity", "covered"),
    [
        ("sip:a@x.example", "sip:a@x.example", True),
        ("sip:a@x.example", "SIP:a@X.EXAMPLE:5060;transport=tcp", True),
        ("sip:*@x.example", "sip:a@x.example", True),
        ("SIP:*@X.EXAMPLE:5060", "sip:a@x.example", True),
        ("*", "tel:+46", True),
        ("*", "not a URI", True),
        ("sip:*@x.example", "sips:a@x.example", False),
        ("sip:*@x.example", "sip:a@x.example:5061", False),
        ("sip:*@x.example", "sip:a@y.x.example", False),
        ("sip:*@x.example", "sip:x.example", False),
        ("sip:*@x.example", "sip:@x.example", False),
        ("sip:*@x.example", "sip:a@evil@x.example.evil", False),
        ("sip:a@x.example", "sip:*@x.example", False),
        ("sip:*@x.example", "sip:a@b@x.example", True),
        ("sip:*@x y", "sip:a@x y", False),
        ("tel:*", "tel:+46", False),
        ("sip:a*@x.example", "sip:ab@x.example", False),
        ("sip:*@*", "sip:a@x.example", False),
    ],
)
def test_a_wildcard_covers_the_users_of_one_host(pattern: str, identity: str, covered: bool) -> None:
    assert matches(pattern, identity) is covered


def covers(pattern: str, identity: str) -> bool:
    """Say by the words of the rule alone whether a canonical *pattern* covers a canonical *identity*."""
    scheme, _, rest = identity.partition(":")
    if pattern in ("*", identity):
        return True
    return "@" in rest and pattern == f"{scheme}:*@{rest[rest.rindex('@') + 1 :]}"


def or_same(uri: str) -> str:
    try:
        return canonical(uri)
    except LocalError:
        return uri


@given(pattern=PATTERNS, identity=URIS)
def test_every_place_that_takes_a_wildcard_decides_alike(pattern: str, identity: str) -> None:
    covered = matches(pattern, identity)
    assert matches(or_same(pattern), or_same(identity)) == covered
    try:
        name, word = canonical(identity), or_same(pattern)
    except LocalError:
        assert covered is (pattern in ("*", identity))
        return
    assert covered is covers(word, name)
    assert covered is (word in (name, *wildcards_of(name)))
    policy = TicketPolicy(
        suite=SUITE_256,
        flags=FULL_MODE,
        responders=(pattern,),
        requested_keys=(RequestedKey(length=SUITE_256.key_length),),
    )
    assert policy.allows_responder(identity) is covered
    other_kms = Principal(name="kms", identities=("sip:kms@other.example",), vouches_for=(word,))
    assert other_kms.owns(name) is covered
    rule = Rule(name="r", sources=frozenset({word}), targets=frozenset({"*"}), allow=True)
    party = Party(identities=(name,)).names()
    assert rule.concerns(party, party) is covered


@given(PATTERNS)
def test_the_canonical_form_of_a_canonical_form_is_itself(uri: str) -> None:
    form = or_same(uri)
    assert or_same(form) == form
