"""Sessions and forms under attack: other sites, fixed and stolen cookies, guesses, idle people."""

from __future__ import annotations

import pytest

from sipmikey.kms.console.guard import FAILURES_BURST
from sipmikey.kms.console.roles import Role
from sipmikey.kms.console.sessions import LOGIN_COOKIE, SESSION_COOKIE, Sessions
from sipmikey.kms.stores.console_sessions import ConsoleSessionStore
from tests.kms.console.desk import Desk, Person

ADD = {"identities": "sip:mallory@example.com"}


def count(desk: Desk) -> int:
    return desk.runner.run(desk.store.subscribers.count())


@pytest.mark.parametrize(
    ("csrf", "headers"),
    [
        ("", {}),
        ("guess", {}),
        (None, {"origin": "https://evil.example"}),
        (None, {"origin": "null"}),
        (None, {"sec_fetch_site": "cross-site"}),
        (None, {"sec_fetch_site": "same-site"}),
    ],
)
def test_a_form_of_another_site_does_nothing(desk: Desk, csrf: str | None, headers: dict[str, str]) -> None:
    person = desk.by(Role.ADMINISTRATOR)
    token = person.get("/").csrf if csrf is None else csrf
    answer = person.ask(
        "POST",
        "/users",
        body=f"identities=sip%3Amallory%40example.com&csrf={token}".encode(),
        headers={"origin": "https://console.example.com", "sec-fetch-site": "same-origin"}
        | {name.replace("_", "-"): value for name, value in headers.items()},
    )
    assert answer.status == 403
    assert count(desk) == 0


def test_the_token_of_another_session_does_nothing(desk: Desk) -> None:
    other = desk.by(Role.ADMINISTRATOR).get("/").csrf
    assert desk.by(Role.ADMINISTRATOR).post("/users", ADD, csrf=other).status == 403
    assert count(desk) == 0


def test_a_get_changes_nothing(desk: Desk) -> None:
    person = desk.by(Role.ADMINISTRATOR)
    for path in ("/user/remove", "/keys/rotate", "/sign-out", "/groups/add"):
        assert person.get(path).status == 405
    assert person.get("/").status == 200


def test_signing_in_gives_a_token_that_nobody_had(desk: Desk) -> None:
    victim = Person(desk, certificate="ann@example.com", cookies={SESSION_COOKIE: "fixed-by-an-attacker"})
    victim.sign_in()
    first = victim.cookies[SESSION_COOKIE]
    assert first != "fixed-by-an-attacker"
    attacker = Person(desk, certificate="ann@example.com", cookies={SESSION_COOKIE: "fixed-by-an-attacker"})
    assert attacker.get("/users").status == 303
    victim.sign_in()
    assert victim.cookies[SESSION_COOKIE] != first
    old = Person(desk, certificate="ann@example.com", cookies={SESSION_COOKIE: first})
    assert old.get("/users").status == 303


def test_a_stolen_cookie_is_useless_without_the_certificate(desk: Desk) -> None:
    ann = desk.by(Role.ADMINISTRATOR)
    thief = Person(desk, certificate="hal@example.com", cookies=dict(ann.cookies))
    assert thief.get("/users").status == 303
    assert ann.get("/users").status == 303, "and the session that was stolen is over"


def test_the_cookie_is_out_of_reach(desk: Desk) -> None:
    person = Person(desk, certificate="ann@example.com")
    cookie = person.sign_in().headers["set-cookie"]  # the last of two: the visit's, taken back
    assert LOGIN_COOKIE in cookie
    assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "domain" not in cookie.lower()
    assert SESSION_COOKIE.startswith("__Host-")


def test_signing_out_ends_the_session(desk: Desk) -> None:
    person = desk.by(Role.AUDITOR)
    stolen = dict(person.cookies)
    assert person.post("/sign-out").headers["location"] == "/sign-in"
    again = Person(desk, certificate="aud@example.com", cookies=stolen)
    assert again.get("/").status == 303
    assert [event.rule for event in desk.audit()[:2]] == ["sign-out", "sign-in"]


@pytest.mark.parametrize(("later_s", "holds"), [(899, True), (901, False)])
def test_an_idle_session_ends(desk: Desk, later_s: int, holds: bool) -> None:
    now = [1_800_000_000.0]
    store = ConsoleSessionStore(desk.store.directory, desk.store.subscribers._vault)
    sessions = Sessions(store, desk.settings.people, idle_s=900, session_s=3600, now_s=lambda: now[0])

    async def body() -> bool:
        begun = await sessions.begin(name="ann@example.com", names=(), how="oidc", instead_of="")
        assert begun is not None
        now[0] += later_s
        return await sessions.find(begun.token, certificate=frozenset()) is not None

    assert desk.runner.run(body()) is holds


def test_a_busy_session_ends_too(desk: Desk) -> None:
    now = [1_800_000_000.0]
    store = ConsoleSessionStore(desk.store.directory, desk.store.subscribers._vault)
    sessions = Sessions(store, desk.settings.people, idle_s=900, session_s=3600, now_s=lambda: now[0])

    async def body() -> list[bool]:
        begun = await sessions.begin(name="ann@example.com", names=(), how="oidc", instead_of="")
        assert begun is not None
        held = []
        for _ in range(8):
            now[0] += 600
            held.append(await sessions.find(begun.token, certificate=frozenset()) is not None)
        return held

    assert desk.runner.run(body()) == [True] * 6 + [False] * 2


def test_who_guesses_cookies_waits(desk: Desk) -> None:
    guesser = Person(desk, source="198.51.100.7")
    statuses = []
    for number in range(FAILURES_BURST + 5):
        guesser.cookies = {SESSION_COOKIE: f"guess-{number}"}
        statuses.append(guesser.get("/").status)
    assert statuses == [303] * FAILURES_BURST + [429] * 5
    assert desk.by(Role.ADMINISTRATOR).get("/").status == 200, "others go on"


def test_who_has_no_role_stays_out(desk: Desk) -> None:
    stranger = Person(desk, certificate="eve@example.com", source="198.51.100.8")
    answers = [stranger.sign_in().status for _ in range(FAILURES_BURST + 1)]
    assert answers == [403] * FAILURES_BURST + [429]
    assert SESSION_COOKIE not in stranger.cookies
    assert desk.audit() == []


def test_without_a_certificate_nobody_signs_in_by_one(desk: Desk) -> None:
    answer = Person(desk).sign_in()
    assert answer.status == 403
    assert "no client certificate" in answer.text


def test_a_certificate_makes_nobody_a_member_of_a_group(desk: Desk) -> None:
    for name in ("group:administrators", "Group:Administrators"):
        stranger = Person(desk, certificate=name)
        assert stranger.sign_in().status == 403
        assert SESSION_COOKIE not in stranger.cookies


def test_tokens_are_not_in_the_database(desk: Desk) -> None:
    person = desk.by(Role.ADMINISTRATOR)
    rows = desk.runner.run(desk.store.directory.fetch("SELECT token, sealed FROM console_session"))
    held = b"".join(bytes(cell) for row in rows for cell in row)
    assert person.cookies[SESSION_COOKIE].encode() not in held
    assert person.get("/").csrf.encode() not in held
