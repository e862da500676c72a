"""ID tokens that an attacker makes, and identities that a claim must not reach."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from sipmikey.kms.enrolment.claims import IdentityRule, SignOnNotAllowed
from sipmikey.kms.enrolment.id_token import IdTokenRefused, TokenRules, UnknownSigningKey, verified_claims
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError

NOW = 1_800_000_000
ISSUER = "https://id.example.com"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}, private=True)
EC = ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"}, private=True)
THEIRS = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
PUBLISHED = KeySet.import_key_set({"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]})
EXPECTED = TokenRules(issuer=ISSUER, client_id="kms", audience="kms", nonce="n")
CLAIMS: dict[str, Any] = {
    "iss": ISSUER, "aud": "kms", "sub": "1", "iat": NOW, "exp": NOW + 300, "preferred_username": "alice",
}  # fmt: skip


def token(key: Any = RSA, *, alg: str = "RS256", kid: str | None = "rsa", **claims: Any) -> str:
    header = {"alg": alg} | ({} if kid is None else {"kid": kid})
    merged = {name: value for name, value in (CLAIMS | claims).items() if value is not ...}
    return jwt.encode(header, merged, key, algorithms=[alg])


def raw(header: dict[str, Any], signature: str = "") -> str:
    parts = [json.dumps(part).encode() for part in (header, CLAIMS)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), signature])


def confused() -> str:
    """Sign with the provider's public key as if it were a secret."""
    text = raw({"alg": "HS256", "kid": "rsa"}).removesuffix(".")
    tag = hmac.digest(RSA.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(tag).decode().rstrip('=')}"


def check(text: str, expected: TokenRules = EXPECTED) -> Any:
    return verified_claims(text, PUBLISHED, expected, now_s=NOW)


@pytest.mark.parametrize(
    "text",
    [
        token(),
        token(EC, alg="ES256", kid="ec"),
        token(RSA, alg="PS256"),
        token(nonce="n"),
        token(aud=["kms", "x"], azp="kms"),
    ],
)
def test_a_token_of_the_provider_is_taken(text: str) -> None:
    assert check(text)["preferred_username"] == "alice"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (token(THEIRS), "signature"),
        (raw({"alg": "none"}), "names no key|signature"),
        (raw({"alg": "none", "kid": "rsa"}), "signature"),
        (raw({"alg": "RS256", "kid": "rsa"}), "signature"),
        (confused(), "signature"),
        (token(kid=None), "names no key"),
        (token(kid="unknown"), "does not publish"),
        (token(exp=NOW - 61), "expired"),
        (token(exp=...), "no time exp"),
        (token(exp="9999999999"), "no time exp"),
        (token(exp=True), "no time exp"),
        (token(iat=NOW + 61), "future"),
        (token(nbf=NOW + 61), "future"),
        (token(nbf="x"), "future"),
        (token(iss="https://evil.example.com"), "another issuer"),
        (token(iss=ISSUER + "/"), "another issuer"),
        (token(iss=...), "another issuer"),
        (token(aud="other"), "another client"),
        (token(aud=["other"]), "another client"),
        (token(aud=...), "another client"),
        (token(aud={"kms": 1}), "another client"),
        (token(aud=["kms", "other"]), "several clients"),
        (token(azp="other"), "another client"),
        (token(sub=""), "names no person"),
        (token(sub=7), "names no person"),
        (token(nonce="of another sign-on"), "another sign-on"),
        (token(nonce=["n"]), "another sign-on"),
        ("", "signature"),
        ("a.b", "signature"),
        ("..", "signature"),
        ("x" * 40_000, "octets at most"),
        ("é.é.é", "octets at most"),
    ],
)
def test_no_other_token_is(text: str, why: str) -> None:
    with pytest.raises(IdTokenRefused, match=why) as caught:
        check(text)
    assert not text or text not in str(caught.value)


def test_a_key_that_is_not_known_is_told_apart() -> None:
    with pytest.raises(UnknownSigningKey):
        check(token(kid="new"))


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
def test_no_text_makes_a_token(text: str) -> None:
    with pytest.raises(IdTokenRefused):
        check(text)


# Identities

RULE = IdentityRule(claim="preferred_username", identity="sip:{}@example.com")


def test_a_claim_is_mapped() -> None:
    assert RULE.identity_of(CLAIMS) == "sip:alice@example.com"
    by_mail = IdentityRule(claim="email", identity="sip:{}")
    claims = {"email": "Alice@EXAMPLE.com", "email_verified": True}
    assert by_mail.identity_of(claims) == "sip:Alice@example.com"
    whole = IdentityRule(claim="sip", identity="{}")
    assert whole.identity_of({"sip": "sip:alice@example.com"}) == "sip:alice@example.com"


@pytest.mark.parametrize(
    "value",
    [
        "", "*", "a*", "alice@evil.example", "alice@evil.example;x=", "sip:bob@example.com",
        "bob@example.com?",
        "a b", "a\nb", "a\x00b", "a%40evil.example", "ålice",
        "a;transport=tcp", "a/../b", "<script>", "a" * 129,
        7, None, ["alice"], {"": 1}, True,
    ],
)  # fmt: skip
def test_a_value_reaches_no_other_identity(value: object) -> None:
    with pytest.raises(SignOnNotAllowed):
        RULE.identity_of({"preferred_username": value})


@given(st.text(max_size=60))
def test_whatever_the_value_the_host_is_the_pattern_s(value: str) -> None:
    try:
        identity = RULE.identity_of({"preferred_username": value})
    except SignOnNotAllowed:
        return
    assert identity.startswith("sip:")
    assert identity.endswith("@example.com")
    assert identity.count("@") == 1
    assert normal_identity(identity) == identity


def test_an_address_that_the_provider_has_not_verified_names_nobody() -> None:
    rule = IdentityRule(claim="email", identity="sip:{}")
    for verified in ({}, {"email_verified": False}, {"email_verified": "true"}):
        with pytest.raises(SignOnNotAllowed, match="not verified"):
            rule.identity_of({"email": "alice@example.com", **verified})


def test_a_group_is_needed_where_groups_are_set() -> None:
    rule = IdentityRule(
        claim="preferred_username", identity="sip:{}@example.com", allowed_groups=frozenset({"phones"})
    )
    assert rule.identity_of(CLAIMS | {"groups": ["x", "phones"]}) == "sip:alice@example.com"
    for groups in ("phones", [], ["phones2"], [["phones"]], None, {"phones": 1}):
        with pytest.raises(SignOnNotAllowed, match="groups"):
            rule.identity_of(CLAIMS | {"groups": groups})


@pytest.mark.parametrize(
    "pattern", ["", "sip:alice@example.com", "sip:{}@*", "sip:{}@{}", "{}@example.com", "mailto:{}"]
)
def test_a_pattern_that_makes_no_identity_is_refused_at_start(pattern: str) -> None:
    with pytest.raises(LocalError):
        IdentityRule(claim="c", identity=pattern)
