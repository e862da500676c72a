"""Whose address counts behind reverse proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.kms.server.proxy import TrustedProxies
from sipmikey.mikey.errors import LocalError

CLIENT, OUTER, INNER = "198.51.100.7", "10.0.0.9", "127.0.0.1"


def told(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode()) for value in values]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (told(CLIENT), CLIENT),
        (told(f"{CLIENT}, {OUTER}"), CLIENT),
        (told(CLIENT, OUTER), CLIENT),
        (told(f"203.0.113.1, {CLIENT}"), CLIENT),
        (told(f"{OUTER}"), OUTER),
        (told(" , "), INNER),
        (told(), INNER),
        (told("unknown"), "unknown"),
    ],
    ids=[
        "one hop",
        "two hops",
        "two headers",
        "the client's own claim",
        "proxies only",
        "empty",
        "none",
        "a word",
    ],
)
def test_the_last_hop_that_is_not_a_proxy_is_the_client(
    headers: list[tuple[bytes, bytes]], expected: str
) -> None:
    assert TrustedProxies([INNER, "10.0.0.0/8"]).client(INNER, headers) == expected


def test_a_client_that_is_not_a_proxy_is_not_believed() -> None:
    assert TrustedProxies([INNER]).client(CLIENT, told("203.0.113.1")) == CLIENT


def test_everyone_may_be_trusted() -> None:
    assert TrustedProxies(["*"]).client(INNER, told(f"{CLIENT}, {OUTER}")) == CLIENT


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=30), max_size=4))
def test_any_header_gives_an_address(values: list[str]) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    assert isinstance(TrustedProxies([INNER]).client(INNER, headers), str)


def test_an_entry_that_is_not_an_address_is_an_error() -> None:
    with pytest.raises(LocalError, match=r"proxy\.example"):
        TrustedProxies(["proxy.example"])
