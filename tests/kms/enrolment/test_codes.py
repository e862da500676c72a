"""Codes as people type them, and URIs that carry one."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.kms.enrolment.codes import (
    ALPHABET,
    new_code,
    parse_code,
    parse_invitation,
    parse_number,
    uri_of,
)
from sipmikey.mikey.errors import LocalError


@given(st.binary(min_size=16, max_size=16), st.sampled_from(["-", " ", "", " - "]), st.booleans())
def test_a_code_is_read_as_it_was_written_or_typed(drawn: bytes, between: str, lower: bool) -> None:
    code = new_code(lambda count: drawn[:count])
    text = code.written().replace("-", between)
    found = parse_code(text.lower() if lower else text)
    assert found == code
    assert parse_number(code.written()) == parse_number(code.number) == code.number


def test_look_alikes_are_taken_for_what_they_look_like() -> None:
    assert parse_code("o0O0-iIlL-1111-0000") == parse_code("0000-1111-1111-0000")


def test_every_symbol_of_the_secret_counts() -> None:
    code = parse_code("7KQ2-M3XA-0VZD-J8TN")
    key = code.key()
    assert len(key) == 32
    assert parse_code("7kq2 m3xa 0vzd j8tn").key() == key
    place = random.Random(1).randrange(4, 16)
    symbols = list(code.written().replace("-", ""))
    symbols[place] = ALPHABET[(ALPHABET.index(symbols[place]) + 1) % 32]
    assert parse_code("".join(symbols)).key() != key


@pytest.mark.parametrize(
    "text", ["", "7KQ2", "7KQ2-M3XA-0VZD-J8TU", "7KQ2-M3XA-0VZD-J8T!", "7KQ2-M3XA-0VZD-J8TNN"]
)
def test_what_is_not_a_code_is_told_and_not_repeated(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse_code(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    "base", ["https://kms.example.com", "https://kms.example.com:8443/a", "http://[::1]:8043"]
)
def test_a_uri_has_the_code_in_its_fragment(base: str) -> None:
    code = new_code(os.urandom)
    uri = uri_of(base, code)
    assert uri.partition("#")[0] == f"{base}/enrolment"
    found = parse_invitation(uri)
    assert (found.code, found.kms_url) == (code, base)
    assert parse_invitation(code.written()).kms_url is None


@pytest.mark.parametrize(
    "text",
    ["https://kms.example.com/enrolment", "https://kms.example.com/#7KQ2-M3XA-0VZD-J8TN", "ftp://a/enrolment#x",
     "https://[/enrolment#7KQ2-M3XA-0VZD-J8TN"],
)  # fmt: skip
def test_a_uri_that_is_not_an_invitation_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        parse_invitation(text)
