"""Signing in at an OpenID provider: the one way that works, and what must not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from joserfc.jwk import OctKey

from sipmikey.kms.console.sessions import LOGIN_COOKIE, SESSION_COOKIE
from sipmikey.kms.console.settings import OidcSettings
from sipmikey.kms.enrolment.sign_on import ProviderUnavailable
from sipmikey.kms.openid.provider import OpenIdClient, OpenIdProvider
from sipmikey.mikey.secret import Secret
from tests.kms.console.desk import Answer, Desk, Person
from tests.kms.console.provider import CLIENT, SECRET, Provider, providing


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as made:
        yield made


@pytest.fixture
def sso(tmp_path: Path, provider: Provider) -> Iterator[Desk]:
    client = OpenIdClient(issuer=provider.issuer, client_id=CLIENT, client_secret=Secret(SECRET.encode()))
    made = Desk(f"sqlite:{tmp_path}/kms.sqlite", oidc=OidcSettings(client=client, groups_claim="groups"))
    yield made
    made.close()


def signed_in(person: Person, provider: Provider) -> Answer:
    address = person.get("/sign-in/oidc").headers["location"]
    asked = provider.visited(address)
    return person.get("/sign-in/callback", {"code": "a-code", "state": asked["state"]})


def test_a_person_signs_in_and_acts_under_the_name_of_the_provider(sso: Desk, provider: Provider) -> None:
    person = Person(sso)
    address = person.get("/sign-in/oidc").headers["location"]
    asked = provider.visited(address)
    assert urlsplit(address).path == "/authorize"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["redirect_uri"] == "https://console.example.com/sign-in/callback"
    answer = person.get("/sign-in/callback", {"code": "a-code", "state": asked["state"]})
    assert (answer.status, answer.title) == (200, "Signed in")
    assert LOGIN_COOKIE not in person.cookies
    assert person.post("/keys/rotate").status == 303
    assert sso.audit()[0].detail == "by ann@example.com"


def test_a_group_of_the_provider_gives_a_role(sso: Desk, provider: Provider) -> None:
    provider.claims = {"email": "new@example.com", "groups": ["staff", "auditors"]}
    person = Person(sso)
    assert signed_in(person, provider).status == 200
    assert person.get("/audit").status == 200
    assert person.get("/").text.count("(auditor)") == 1


def _hs256(provider: Provider, claims: dict[str, Any]) -> str:
    """A token whose HMAC key is the text of the public key (the classic confusion of algorithms)."""
    public = json.dumps(provider.key.as_dict(private=False)).encode()
    return Provider.signed(claims, OctKey.import_key(public), "HS256")


def _unsigned(provider: Provider, claims: dict[str, Any]) -> str:
    parts = ({"alg": "none"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts) + "."
    )


@pytest.mark.parametrize(
    "token",
    [_hs256, _unsigned, lambda p, claims: Provider.signed(claims, p.other), lambda p, claims: "x.y.z"],
)
def test_a_token_that_is_not_genuine(
    sso: Desk, provider: Provider, token: Callable[[Provider, dict[str, Any]], str]
) -> None:
    provider.token = token
    person = Person(sso)
    answer = signed_in(person, provider)
    assert (answer.status, SESSION_COOKIE in person.cookies) == (403, False)
    assert "not genuine" in answer.text


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another"]},
        {"azp": "another"},
        {"iss": "http://127.0.0.1:1"},
        {"exp": 1_000_000_000},
        {"exp": "never"},
        {"iat": 5_000_000_000},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": ["ann@example.com"]},
        {"email": "ann@example.com\x00"},
        {"email": "eve@example.com", "groups": "group:administrators"},
        {"email": "group:administrators", "email_verified": None},
        {"email": "group:administrators"},
        {"email": "GROUP:administrators"},
    ],
)
def test_claims_that_let_nobody_in(sso: Desk, provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    person = Person(sso)
    answer = signed_in(person, provider)
    assert (answer.status, SESSION_COOKIE in person.cookies) == (403, False), answer.text


def test_a_visit_is_one_browsers_and_once(sso: Desk, provider: Provider) -> None:
    ann, mallory = Person(sso), Person(sso)
    asked = provider.visited(ann.get("/sign-in/oidc").headers["location"])
    back = {"code": "a-code", "state": asked["state"]}
    assert mallory.get("/sign-in/callback", back).status == 403, "without the cookie of the visit"
    mallory.get("/sign-in/oidc")
    assert mallory.get("/sign-in/callback", back).status == 403, "with the cookie of another visit"
    kept = dict(ann.cookies)
    assert ann.get("/sign-in/callback", back).status == 200
    again = Person(sso, cookies=kept)
    provider.codes["a-code"] = asked
    assert again.get("/sign-in/callback", back).status == 403, "the visit is over"


def test_a_refusal_of_the_provider_is_told_without_its_markup(sso: Desk) -> None:
    person = Person(sso)
    location = person.get("/sign-in/oidc").headers["location"]
    state = location.partition("state=")[2].partition("&")[0]
    answer = person.get("/sign-in/callback", {"error": "<b>denied</b>", "state": state})
    assert answer.status == 403
    assert "&lt;b&gt;denied" in answer.text


def test_a_provider_that_is_away(tmp_path: Path) -> None:
    client = OpenIdClient(issuer="http://127.0.0.1:9", client_id=CLIENT)
    desk = Desk(f"sqlite:{tmp_path}/kms.sqlite", oidc=OidcSettings(client=client))
    try:
        answer = Person(desk).get("/sign-in/oidc")
        assert answer.status == 403
        assert "cannot be reached" in answer.text
    finally:
        desk.close()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9200/token", "http://sso.example.com/token", "file:///x"]
)
def test_a_provider_cannot_send_the_kms_to_other_addresses(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    issuer = "https://sso.example.com"
    asked = []

    async def ask(self: OpenIdProvider, method: str, url: str, *more: object) -> tuple[int, dict[str, str]]:
        asked.append(url)
        return 200, {"issuer": issuer, "token_endpoint": address}

    monkeypatch.setattr(OpenIdProvider, "_ask", ask)
    provider = OpenIdProvider(OpenIdClient(issuer=issuer, client_id=CLIENT))
    with pytest.raises(ProviderUnavailable, match="token_endpoint: "):
        asyncio.run(provider.post("token_endpoint", {}))
    assert asked == [f"{issuer}/.well-known/openid-configuration"]
