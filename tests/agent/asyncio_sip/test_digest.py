"""Digest answers: the examples of RFC 7616, stale nonces, and no password sent twice for one challenge."""

from __future__ import annotations

import pytest

from sipmikey.agent.asyncio_sip.wire.digest import Digest
from sipmikey.agent.config import DigestCredentials
from sipmikey.mikey.secret import Secret
from sipmikey.sip import Headers, SipMessage

MUFASA = DigestCredentials(username="Mufasa", password=Secret(b"Circle of Life"))
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def challenge(*values: str, status: int = 401) -> SipMessage:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return SipMessage(
        start_line=f"SIP/2.0 {status} Unauthorized", headers=tuple((name, value) for value in values)
    )


def asked(algorithm: str = "MD5", *, nonce: str = NONCE, qop: str = "auth, auth-int", more: str = "") -> str:
    return (
        f'Digest realm="http-auth@example.org", qop="{qop}", algorithm={algorithm}, nonce="{nonce}",'
        f' opaque="{OPAQUE}"{more}'
    )


def fields(headers: Headers) -> dict[str, str]:
    (_, value) = headers[0]
    parts = (part.partition("=")[::2] for part in value.removeprefix("Digest ").split(", "))
    return {name: text.strip('"') for name, text in parts}


@pytest.mark.parametrize(
    ("algorithm", "proof"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616_section_3_9_1(algorithm: str, proof: str) -> None:
    digest = Digest(MUFASA, lambda _: CNONCE)
    answer = fields(digest.answer(challenge(asked(algorithm)), "GET", "/dir/index.html", b""))
    assert answer["response"] == proof
    assert (answer["qop"], answer["nc"], answer["opaque"]) == ("auth", "00000001", OPAQUE)


def test_the_first_challenge_that_is_understood_is_answered() -> None:
    answers = Digest(MUFASA).answer(
        challenge("Bearer x", asked("SHA-512-256"), asked("SHA-256"), asked("MD5"), status=407),
        "INVITE", "sip:b@example.com", b"",
    )  # fmt: skip
    assert [name for name, _ in answers] == ["Proxy-Authorization"]
    assert fields(answers)["algorithm"] == "SHA-256"


def test_the_body_is_proven_where_only_that_is_offered() -> None:
    one = Digest(MUFASA, lambda _: CNONCE).answer(challenge(asked(qop="auth-int")), "INVITE", "sip:b", b"1")
    two = Digest(MUFASA, lambda _: CNONCE).answer(challenge(asked(qop="auth-int")), "INVITE", "sip:b", b"2")
    assert fields(one)["response"] != fields(two)["response"]


def test_a_wrong_password_is_sent_once_and_a_stale_nonce_answered_again() -> None:
    digest = Digest(MUFASA)
    assert digest.answer(challenge(asked()), "REGISTER", "sip:b", b"")
    assert not digest.answer(challenge(asked()), "REGISTER", "sip:b", b"")
    assert not digest.answer(challenge(asked(nonce="other")), "REGISTER", "sip:b", b"")
    assert digest.answer(challenge(asked(nonce="third", more=", stale=TRUE")), "REGISTER", "sip:b", b"")


@pytest.mark.parametrize(
    "value", ["", "Digest", "Digest realm=", 'Digest nonce="x', 'Digest nonce="x"y, realm="z"', "Digest ,=,"]
)
def test_what_is_no_challenge_is_not_answered(value: str) -> None:
    assert not Digest(MUFASA).answer(challenge(value), "REGISTER", "sip:b", b"")


def test_other_realms_and_no_credentials_are_not_answered() -> None:
    elsewhere = DigestCredentials(username="a", password=Secret(b"b"), realm="elsewhere")
    assert not Digest(elsewhere).answer(challenge(asked()), "REGISTER", "sip:b", b"")
    assert not Digest(None).answer(challenge(asked()), "REGISTER", "sip:b", b"")
