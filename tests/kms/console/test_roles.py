"""Every address of the console, for every role and for nobody; what an act leaves in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from sipmikey.kms.audit import Exchange
from sipmikey.kms.console.app import PLACES, Place, console
from sipmikey.kms.console.roles import ALLOWED, Permission, Role
from sipmikey.kms.subscribers import SubscriberRecord
from tests.kms.console.desk import NAMES, POLICY, Desk, Person

SEES = {"/", "/users", "/user", "/devices", "/groups", "/invitations", "/policy"}
MAY: Mapping[Role, set[str]] = {
    Role.ADMINISTRATOR: {f"{place.method} {place.path}" for place in PLACES},
    Role.HELP_DESK: {f"GET {path}" for path in SEES}
    | {f"POST {path}" for path in ("/invitations", "/invitations/take-back", "/devices/revoke")}
    | {"POST /user/enable", "POST /user/disable"},
    Role.AUDITOR: {f"GET {path}" for path in (*SEES, "/keys", "/audit", "/audit/export")},
}
"""What each role may ask, said a second time, so that a slip in the table of places shows."""


@dataclass(frozen=True, slots=True)
class Act:
    """A form that works. ``act``: its word in the audit log. ``form`` may need something that was made."""

    act: str
    form: Callable[[Desk], Mapping[str, str]]


def _invitation(desk: Desk) -> str:
    invited = desk.runner.run(desk.acts().invite("sip:alice@example.com", minutes=5, url=None))
    return invited.record.number


def _tpk(desk: Desk) -> str:
    return desk.runner.run(desk.acts().rotate_tpk()).key_id.hex()


ACTS: Mapping[str, Act] = {
    "/users": Act("add", lambda desk: {"identities": "sip:carol@example.com tel:+46701234567"}),
    "/user/remove": Act("remove", lambda desk: {"name": "alice"}),
    "/user/enable": Act("enable", lambda desk: {"name": "alice"}),
    "/user/disable": Act("disable", lambda desk: {"name": "alice"}),
    "/groups/add": Act("group-add", lambda desk: {"group": "sip:sales@example.com", "members": "sip:a@b.c"}),
    "/groups/remove": Act("group-remove", lambda desk: {"group": "sip:staff@example.com", "whole": "yes"}),
    "/invitations": Act("invite", lambda desk: {"identity": "sip:alice@example.com", "minutes": "30"}),
    "/invitations/take-back": Act("uninvite", lambda desk: {"number": _invitation(desk)}),
    "/policy": Act("policy-put", lambda desk: {"text": POLICY}),
    "/keys/rotate": Act("tpk-rotate", lambda desk: {}),
    "/keys/destroy": Act("tpk-destroy", lambda desk: {"key_id": _tpk(desk), "confirm": "yes"}),
}


def prepared(desk: Desk) -> None:
    desk.add("alice", groups=["sip:staff@example.com"])


@pytest.mark.parametrize("role", [None, *Role])
def test_each_role_reaches_what_it_may_and_nothing_else(desk: Desk, role: Role | None) -> None:
    prepared(desk)
    person = Person(desk) if role is None else desk.by(role)
    csrf = "" if role is None else person.get("/").csrf
    before = len(desk.audit())
    for place in PLACES:
        where = f"{place.method} {place.path}"
        if place.method == "GET":
            answer = person.get(place.path, {"name": "alice"})
        else:
            answer = person.post(place.path, {}, csrf=csrf)
        if role is None:
            assert (answer.status, answer.headers.get("location")) == (303, "/sign-in"), where
        elif where in MAY[role]:
            assert answer.status in (200, 303, 400), (where, answer.text)
            assert answer.headers.get("location") != "/sign-in", where
        else:
            assert (answer.status, answer.title) == (403, "Not allowed"), where
    if role is None:
        assert len(desk.audit()) == before


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("role", Role)
def test_an_act_is_done_for_who_may_and_is_in_the_audit_log(desk: Desk, role: Role, path: str) -> None:
    prepared(desk)
    act = ACTS[path]
    form = act.form(desk)
    person = desk.by(role)
    before = len(desk.audit())
    answer = person.post(path, form)
    new = desk.audit()[: len(desk.audit()) - before]
    if f"POST {path}" in MAY[role]:
        assert answer.status in (200, 303), answer.text
        assert [event.rule for event in new] == [act.act]
        assert new[0].exchange is Exchange.ADMINISTRATION
        assert (new[0].source, new[0].detail.split(":")[0]) == ("console 192.0.2.1", f"by {NAMES[role]}")
    else:
        assert (answer.status, new) == (403, [])


def test_every_act_has_a_form_here_and_every_route_a_permission(desk: Desk) -> None:
    posts = {place.path for place in PLACES if place.method == "POST"}
    assert posts == ACTS.keys() | {"/devices/revoke"}
    assert all(place.permission is not None for place in PLACES)
    app = console(desk.store, desk.settings)
    free = {
        "/static/console.css",
        "/favicon.ico",
        "/sign-in",
        "/sign-in/certificate",
        "/sign-in/oidc",
        "/sign-in/callback",
    }
    routes = {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert routes == free | {"/sign-out"} | {place.path for place in PLACES}


def test_a_role_that_was_taken_away_ends_the_session(desk: Desk) -> None:
    person = desk.by(Role.ADMINISTRATOR)
    people = desk.settings.people
    object.__setattr__(people, "_names", {role: frozenset[str]() for role in Role})
    answer = person.get("/users")
    assert (answer.status, answer.headers.get("location")) == (303, "/sign-in")


def test_the_help_desk_invites_users_there_are_and_adds_none(desk: Desk) -> None:
    prepared(desk)
    helper = desk.by(Role.HELP_DESK)
    refused = helper.post("/invitations", {"identity": "sip:stranger@example.com"})
    assert refused.status == 400
    assert "there is no user" in refused.text
    assert desk.runner.run(desk.store.subscribers.count()) == 1
    invited = helper.post("/invitations", {"identity": "sip:alice@example.com"})
    assert invited.status == 200
    assert "<svg" in invited.text


def test_nobody_is_invited_to_be_another_kms(desk: Desk) -> None:
    peer = SubscriberRecord(
        name="peer", identities=("sip:kms@example.org",), vouches_for=("sip:*@example.org",)
    )
    desk.runner.run(desk.acts().add(peer))
    for role in (Role.HELP_DESK, Role.ADMINISTRATOR):
        answer = desk.by(role).post("/invitations", {"identity": "sip:kms@example.org"})
        assert (answer.status, "is another KMS" in answer.text) == (400, True)


def test_links_to_pages_that_a_role_may_not_see_are_not_shown(desk: Desk) -> None:
    assert 'href="/audit"' not in desk.by(Role.HELP_DESK).get("/").text
    assert 'href="/audit"' in desk.by(Role.AUDITOR).get("/").text
    assert '<form method="post" action="/users"' not in desk.by(Role.AUDITOR).get("/users").text


def test_the_most_powerful_role_counts_once_for_all() -> None:
    assert ALLOWED[Role.ADMINISTRATOR] == frozenset(Permission)
    reading = {Permission.SEE, Permission.SEE_AUDIT, Permission.SEE_KEYS}
    assert ALLOWED[Role.AUDITOR] == reading


def test_places_are_named_once() -> None:
    seen: set[tuple[str, str]] = set()
    for place in PLACES:
        assert isinstance(place, Place)
        assert (place.method, place.path) not in seen
        seen.add((place.method, place.path))
