"""Signing in to the console at a real OpenID provider: who comes in, as what, for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipmikey.kms.console.sessions import SESSION_COOKIE
from sipmikey.kms.console.settings import OidcSettings
from sipmikey.kms.openid.provider import OpenIdClient
from sipmikey.mikey.secret import Secret
from tests.kms.console.desk import Answer, Desk, Person
from tests.kms.organisation.provider import Browser, Provider

pytestmark = pytest.mark.interop


@pytest.fixture
def sso(tmp_path: Path, provider: Provider) -> Iterator[Desk]:
    secret = Secret(b"secret of the console")
    client = OpenIdClient(issuer=provider.issuer, client_id="console", client_secret=secret, timeout_s=20)
    made = Desk(f"sqlite:{tmp_path}/kms.sqlite", oidc=OidcSettings(client=client))
    yield made
    made.close()


def signed_in(person: Person, browser: Browser, who: str, *, agree: bool = True) -> Answer:
    address = person.get("/sign-in/oidc").headers["location"]
    return person.get("/sign-in/callback", browser.sent_back(address, person=who, agree=agree))


def test_people_come_in_by_the_provider(sso: Desk, provider: Provider) -> None:
    ann, browser = Person(sso), Browser()
    assert (signed_in(ann, browser, "ann").status, ann.post("/keys/rotate").status) == (200, 303)
    assert "ann@example.com <em>(administrator)" in ann.get("/").text
    # The provider's keys change, and a group of the provider gives a role that may less.
    provider.rotate()
    auditor = Person(sso)
    assert signed_in(auditor, Browser(), "aud").status == 200
    assert [auditor.get("/audit").status, auditor.post("/keys/rotate").status] == [200, 403]
    # In no group with a role; with the same address, which the provider has not verified; and not willing.
    for who, agree, why in (
        ("alice", True, "nobody gave you a role"),
        ("bob", True, "email_verified"),
        ("ann", False, "the OpenID provider says access_denied"),
    ):
        stranger = Person(sso, source="192.0.2.7")
        answer = signed_in(stranger, Browser(), who, agree=agree)
        assert (answer.status, why in answer.text) == (403, True), answer.text
        assert SESSION_COOKIE not in stranger.cookies
    # Out, and in again with what the provider remembers; a code that was used is worth nothing.
    stolen = dict(ann.cookies)
    assert ann.post("/sign-out").status == 303
    assert Person(sso, cookies=stolen).get("/").status == 303
    address = ann.get("/sign-in/oidc").headers["location"]
    back = browser.sent_back(address, person="ann")
    kept = dict(ann.cookies)
    assert ann.get("/sign-in/callback", back).status == 200
    assert Person(sso, cookies=kept).get("/sign-in/callback", back).status == 403
    # Idle for too long.
    sso.runner.run(sso.store.directory.execute("UPDATE console_session SET seen_s = seen_s - 1000"))
    answer = ann.get("/users")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
