"""Identities, wildcards, and subscribers written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.kms.service import run
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.subscribers import (
    Principal,
    PskRecord,
    SubscriberRecord,
    format_subscribers,
    normal_identity,
    parse_subscribers,
)
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("SIP:Alice@Example.COM:5060;transport=tcp", "sip:Alice@example.com"),
        ("tel:+46-70-123", "tel:+4670123"),
        ("sip:*@Support.Example.com", "sip:*@support.example.com"),
    ],
)
def test_identities_have_one_form(given: str, normal: str) -> None:
    assert normal_identity(given) == normal
    assert normal_identity(normal) == normal


@pytest.mark.parametrize(
    "text", ["", "alice", "alice@example.com", "http://x", "sip:", "sip:a b@x", "sip:a*@x"]
)
def test_what_is_no_identity_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(LocalError):
        normal_identity(text)


def test_a_kms_owns_what_it_vouches_for() -> None:
    kms = Principal(name="b", identities=("sip:kms@b.example",), vouches_for=("sip:*@b.example",))
    assert kms.is_kms
    assert kms.owns("sip:anybody@b.example")
    assert not kms.owns("sip:anybody@a.example")


names = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)
records = st.builds(
    lambda name, count, enabled, keys: SubscriberRecord(
        name=name,
        identities=tuple(f"sip:u{number}@example.com" for number in range(count)),
        enabled=enabled,
        psks=tuple(
            PskRecord(key_id=key, key=Secret(key * 16), valid_from_s=start, valid_until_s=end)
            for key, start, end in keys
        ),
        certificates=(b"der",) * (count - 1),
        groups=("sip:g@example.com",) * enabled,
    ),
    names,
    st.integers(1, 3),
    st.booleans(),
    st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=8),
            st.none() | st.integers(0, 2**40),
            st.none() | st.integers(0, 2**40),
        ),
        max_size=3,
    ),
)


@given(st.lists(records, max_size=5))
def test_what_is_written_is_read_back(people: list[SubscriberRecord]) -> None:
    assert list(parse_subscribers(format_subscribers(people))) == people


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not a JSON object"),
        ("[]", "line 2: a subscriber is a JSON object"),
        ("{}", "line 2: name is missing"),
        ('{"name": "x"}', "no identity"),
        ('{"name": "x", "identities": ["x"]}', "'x' is not an identity"),
        ('{"name": "x", "identities": ["sip:*@x.example"]}', "cannot own the wildcard"),
        ('{"name": "x", "identities": "sip:a@x.example"}', "identities must be of type list"),
        ('{"name": "x", "identity": []}', "unknown key 'identity'; allowed: name, identities"),
        ('{"name": "x", "identities": ["sip:x@x"], "psks": [{"key": "AAAA"}]}', "key_id must be given"),
        (
            '{"name": "x", "identities": ["sip:x@x"], "psks": [{"key_id": "00", "key": "?"}]}',
            "psks: key: the key is neither hexadecimal nor base64",
        ),
        (
            '{"name": "x", "identities": ["sip:x@x"], "psks": [{"key_id": "00", "key": "AAAA"}]}',
            "2 bytes; 16 or more",
        ),
    ],
)
def test_errors_name_the_line_and_what_is_wrong_in_it(line: str, said: str) -> None:
    good = json.dumps({"name": "good", "identities": ["sip:good@example.com"]})
    with pytest.raises(LocalError, match=said):
        list(parse_subscribers([good, line]))


@given(st.text(max_size=100))
def test_any_line_is_a_subscriber_or_a_local_error(line: str) -> None:
    try:
        found = list(parse_subscribers([line]))
    except LocalError:
        return
    assert found == [] or isinstance(found[0], SubscriberRecord)


def test_keys_are_not_shown() -> None:
    record = PskRecord(key_id=b"k", key=Secret(b"0123456789abcdef"))
    assert "0123456789abcdef" not in repr(record)


def test_a_key_says_whose_device_it_is_in_an_export_too(tmp_path: Path) -> None:
    async def story() -> None:
        store = await open_store(f"sqlite:{tmp_path}/kms.sqlite", Secret(bytes(32)), create=True)
        try:
            key = PskRecord(key_id=b"alice.1.1", key=Secret(bytes(32)), device="alice.1")
            plain = PskRecord(key_id=b"alice", key=Secret(bytes(32)))
            record = SubscriberRecord(name="alice", identities=("sip:alice@example.com",), psks=(plain, key))
            (read,) = parse_subscribers(format_subscribers([record]))
            await store.subscribers.add(read)
            kept = await store.subscribers.get("alice", with_keys=True)
            assert {psk.key_id: psk.device for psk in kept.psks} == {b"alice": "", b"alice.1.1": "alice.1"}
        finally:
            await store.close()

    run(story())
