"""Text of others is shown and never obeyed; every answer has the headers that bound a browser."""

from __future__ import annotations

import csv
import io
import json
import re
from urllib.parse import unquote

import pytest

from sipmikey.kms.administration.devices import last_uses, last_uses_of
from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.console.app import PLACES
from sipmikey.kms.console.pages.people import MEMBERS, ROWS
from sipmikey.kms.console.roles import Role
from sipmikey.mikey.secret import Secret
from tests.kms.console.desk import Desk, Person

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'--; DROP TABLE subscriber",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\r\nSet-Cookie: a=b\r\n\r\n",
    "\u202egpj.exe\x00\x1b[2J",
    "%00%0d%0a../../etc/passwd",
    "\ud7ff" * 3000,
)
FIELDS = {
    place.path: names
    for place, names in (
        (place, {
            "/users": ("identities", "name", "groups"),
            "/user/remove": ("name",), "/user/enable": ("name",), "/user/disable": ("name",),
            "/devices/revoke": ("device",), "/groups/add": ("group", "members"),
            "/groups/remove": ("group", "members", "whole"), "/invitations": ("identity", "minutes"),
            "/invitations/take-back": ("number",), "/policy": ("text",), "/keys/rotate": ("x",),
            "/keys/destroy": ("key_id", "confirm"),
        }.get(place.path, ()))
        for place in PLACES if place.method == "POST"
    )
}  # fmt: skip
QUERIES = {
    "/": ("said",), "/users": ("find", "after", "said"), "/user": ("name",), "/devices": ("user",),
    "/groups": ("said",), "/invitations": ("identity",), "/policy": ("from", "to", "flags", "suite"),
    "/keys": ("said",), "/audit": ("subscriber", "ticket", "decision", "since", "until"),
    "/audit/export": ("subscriber", "since", "format"),
}  # fmt: skip
TAGS = re.compile(
    r"<(script|img|iframe|object|embed|link(?! rel=\"stylesheet\" href=\"/static/))", re.IGNORECASE
)


def fine(text: str) -> bool:
    """Return whether a page holds nothing of the hostile texts that a browser would obey."""
    return not TAGS.search(text) and " onerror=" not in re.sub(r"&[^;]+;[^<]*", "", text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_every_field_of_every_form(desk: Desk, text: str) -> None:
    desk.add("alice")
    ann = desk.by(Role.ADMINISTRATOR)
    csrf = ann.get("/").csrf
    for path, names in FIELDS.items():
        for name in names:
            good = {"identities": "sip:x@example.com", "identity": "sip:alice@example.com"}
            answer = ann.post(path, {**good, name: text}, csrf=csrf)
            assert answer.status in (200, 303, 400), (path, name, answer.status)
            assert fine(answer.text), (path, name)
            assert "\n" not in answer.headers.get("location", "")
    for path, names in QUERIES.items():
        for name in names:
            answer = ann.get(path, {name: text})
            assert answer.status in (200, 303, 400), (path, name, answer.status)
            assert fine(answer.text) or path == "/audit/export", (path, name)


@pytest.mark.parametrize("text", HOSTILE[:7], ids=range(7))
def test_hostile_names_that_are_in_the_store_are_shown_only(desk: Desk, text: str) -> None:
    name = text.strip().replace("\0", "")  # which no store keeps
    desk.add("alice")
    desk.runner.run(desk.store.directory.execute("UPDATE subscriber SET name = ?1", name))
    event = AuditEvent(
        time_ns=1, exchange=Exchange.REQUEST, decision=Decision.REFUSED, reason="auth-failure",
        subscriber=name, identity=name, detail=name, source=name, rule=name, credential=name,
    )  # fmt: skip
    desk.runner.run(desk.store.audit.append(event))
    aud = desk.by(Role.AUDITOR)
    for path in ("/users", "/audit", "/devices"):
        answer = aud.get(path)
        assert answer.status == 200
        assert fine(answer.text), path


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/static/console.css", "/audit/export"])
@pytest.mark.parametrize("signed_in", [False, True])
def test_every_answer_bounds_the_browser(desk: Desk, path: str, signed_in: bool) -> None:
    person = desk.by(Role.ADMINISTRATOR) if signed_in else Person(desk)
    headers = person.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy
    assert headers["referrer-policy"] == "same-origin", "no-referrer would make the origin of forms null"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" in headers


def test_no_page_names_another_host_or_has_script_or_style_of_its_own(desk: Desk) -> None:
    desk.add("alice", groups=["sip:staff@example.com"])
    ann = desk.by(Role.ADMINISTRATOR)
    pages = [ann.get(place.path, {"name": "alice"}).text for place in PLACES if place.method == "GET"]
    pages.append(ann.post("/invitations", {"identity": "sip:alice@example.com"}).text)
    for page in pages:
        assert not re.search(r'(?:src|href|action)="(?!/)[^"#]', page)
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", page)


def test_every_field_has_a_label_and_every_page_one_heading(desk: Desk) -> None:
    desk.add("alice", groups=["sip:staff@example.com"])
    ann = desk.by(Role.ADMINISTRATOR)
    for place in PLACES:
        if place.method != "GET" or place.path == "/audit/export":
            continue
        page = ann.get(place.path, {"name": "alice"}).text
        assert page.count("<h1>") == 1, place.path
        assert '<html lang="en">' in page
        bare = re.sub(r"<label[^>]*>.*?</label>", "", page, flags=re.DOTALL)
        for control in re.findall(r"<(?:input|select|textarea)[^>]*>", bare):
            labelled = 'type="hidden"' in control or "aria-label=" in control or 'id="text"' in control
            assert labelled, (place.path, control)


def test_an_export_is_no_formula_and_is_audited(desk: Desk) -> None:
    event = AuditEvent(
        time_ns=1, exchange=Exchange.REQUEST, decision=Decision.REFUSED, reason="auth-failure",
        subscriber="=cmd|' /C calc'!A0", detail="a, \"b\"\nc",
    )  # fmt: skip
    desk.runner.run(desk.store.audit.append(event))
    aud = desk.by(Role.AUDITOR)
    answer = aud.get("/audit/export", {"decision": "refused"})
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["subscriber"] == "'=cmd|' /C calc'!A0"
    assert row["detail"] == 'a, "b"\nc'
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    lines = aud.get("/audit/export", {"format": "json"}).text.splitlines()
    assert json.loads(lines[-1])["subscriber"] == "=cmd|' /C calc'!A0"
    assert [event.rule for event in desk.audit()[:2]] == ["audit-export", "audit-export"]


def test_a_decision_is_explained(desk: Desk) -> None:
    desk.add("alice")
    page = desk.by(Role.AUDITOR).get(
        "/policy", {"from": "sip:alice@example.com", "to": "sip:bob@example.com"}
    )
    assert "allowed" in page.text
    assert "<strong>everybody</strong>" in page.text
    wrong = desk.by(Role.AUDITOR).get("/policy", {"from": "alice", "to": "sip:bob@example.com"})
    assert "is not an identity" in wrong.text


def test_a_policy_with_a_mistake_is_not_in_force(desk: Desk) -> None:
    answer = desk.by(Role.ADMINISTRATOR).post("/policy", {"text": "[[rule]]\nnme = 1\n"})
    assert answer.status == 400
    assert desk.runner.run(desk.store.policies.current()) is None


def test_users_are_found_by_name_identity_and_beginning(desk: Desk) -> None:
    for name in ("alice", "alina", "bob"):
        desk.add(name)
    aud = desk.by(Role.AUDITOR)
    assert aud.get("/users", {"find": "sip:bob@example.com"}).headers["location"] == "/user?name=bob"
    listed = aud.get("/users", {"find": "ali"}).text
    assert listed.index(">alice<") < listed.index(">alina<") < listed.index(">bob<")


def test_long_lists_come_in_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add("alice")
    store, many = desk.store, ROWS + 5
    uses = {"alice.1": 3, "alice.10": 12, "alice.50": 52}

    async def fill() -> None:
        for n in range(many):
            sealed = store.subscribers._vault.seal(Secret(bytes(32)), "device", f"alice.{n}")
            await store.directory.execute(
                """INSERT INTO device
                (id, subscriber_id, identity, name, sealed, generation, enrolled_s, seen_s, valid_until_s)
                VALUES (?1, 1, 'sip:alice@example.com', 'x', ?2, 1, ?3, ?3, 9000000000)""",
                f"alice.{n}",
                sealed,
                1_800_000_000 + n // 2,
            )
            await store.subscribers.add_group(f"sip:g{n:03}@example.com", [f"sip:m{n}@example.com"])
        used = [(f"alice.{n}.{g}".encode().hex(), n + g) for n in (1, 10, 50) for g in (1, 2)]
        await store.audit._database.many("INSERT INTO credential_use VALUES (?1, ?2)", used)
        everybody = [f"sip:n{n}@example.com" for n in range(MEMBERS + 20)]
        await store.subscribers.add_group("sip:g000@example.com", everybody)
        assert await last_uses_of(store, await store.devices.page(limit=many)) == uses
        assert await last_uses(store) == uses

    desk.runner.run(fill())
    for _ in range(many):
        desk.runner.run(desk.acts().invite("sip:alice@example.com", minutes=60, url=None, add_missing=False))
    for whole in ("invitations", "devices", "credentials"):
        monkeypatch.delattr(type(store.devices), whole)  # the pages do without what reads them all
    aud = desk.by(Role.AUDITOR)
    for path, row in (
        ("/devices", r'<th scope="row">(alice\.\d+)'),
        ("/groups", r'<th scope="row">(sip:g\d+@example.com)'),
        ("/invitations", r'<th scope="row">([^<]+)</th><td>sip:alice'),
    ):
        first = aud.get(path).text
        (after,) = re.findall(rf'href="{path}\?after=([^"]+)"', first)
        second = aud.get(path, {"after": unquote(after)}).text
        shown = re.findall(row, first), re.findall(row, second)
        assert [len(each) for each in shown] == [ROWS, many - ROWS], path
        assert len({*shown[0], *shown[1]}) == many, path
        assert "?after=" not in second
        assert aud.get(path, {"after": "nothing of the kind"}).status == 200
    assert "and 21 more" in aud.get("/groups").text


def test_a_link_cannot_make_the_console_say_what_it_likes(desk: Desk) -> None:
    ann = desk.by(Role.ADMINISTRATOR)
    assert "Done: removed." in ann.get("/users", {"said": "removed"}).text
    for text in ("all keys were stolen, call 555", "removed call 555", "removed\n"):
        assert "Done" not in ann.get("/users", {"said": text}).text


def test_a_body_of_another_kind_is_no_form(desk: Desk) -> None:
    ann = desk.by(Role.ADMINISTRATOR)
    csrf = ann.get("/").csrf
    body = f'{{"csrf": "{csrf}", "identities": "sip:mallory@example.com"}}'.encode()
    answer = ann.ask("POST", "/users", body=body, headers={"content_type": "application/json"})
    assert answer.status == 403
