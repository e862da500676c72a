"""Text that PostgreSQL cannot keep is refused in words, at each door and whatever the store is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sipmikey.kms.administration.audit_acts import Actor
from sipmikey.kms.audit import AuditEvent, AuditQuery, Decision, Exchange
from sipmikey.kms.console.roles import Role
from sipmikey.kms.enrolment.documents import Ask, BadEnrolment, Envelope
from sipmikey.kms.policy.file import PolicyError, parse_policy
from sipmikey.kms.provisioning.people import Pattern
from sipmikey.kms.scim.desk import ScimDesk, ScimReply, ScimRequest, ScimSettings
from sipmikey.kms.stores.database import UnfitText
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord, normal_identity, parse_subscribers
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.ticket.identity import canonical
from tests.cli.test_kms import Kms
from tests.cli.test_kms import kms as kms
from tests.kms.console.desk import Desk
from tests.kms.console.test_pages import FIELDS, QUERIES
from tests.kms.domain import Domain, uri
from tests.kms.organisation.test_scim import GROUP, PATCH, USER

UNFIT = ("a\0b", "\0", "a\ud800b")


@pytest.fixture
def desk(store_url: str) -> Iterator[Desk]:
    made = Desk(store_url)
    yield made
    made.close()


def with_store(url: str, story: Callable[[Store], Awaitable[None]]) -> None:
    """Run *story* with a new store."""

    async def told() -> None:
        store = await open_store(url, Secret(bytes(32)), create=True)
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(told())


@pytest.mark.parametrize("text", UNFIT)
def test_no_verb_of_a_store_takes_it_and_the_store_goes_on(store_url: str, text: str) -> None:
    async def story(store: Store) -> None:
        database = store.directory
        for attempt in (
            database.fetch("SELECT 1 FROM identity WHERE uri = ?1", text),
            database.execute("DELETE FROM identity WHERE uri = ?1", text),
            database.many("DELETE FROM identity WHERE uri = ?1", [("fine",), (text,)]),
        ):
            with pytest.raises(UnfitText):
                await attempt
        with pytest.raises(UnfitText):
            async with database.transaction() as transaction:
                await transaction.execute("DELETE FROM identity WHERE uri = ?1", text)
        await store.ping()

    with_store(store_url, story)


def test_a_subscribers_name(store_url: str) -> None:
    async def story(store: Store) -> None:
        for name in ("a\0b", "a\nb", "a\u202eb"):
            record = SubscriberRecord(name=name, identities=(uri("alice"),))
            with pytest.raises(LocalError, match=r"^name: "):
                await store.subscribers.add(record)
        assert await store.subscribers.count() == 0

    with_store(store_url, story)


def test_every_field_of_the_console(desk: Desk) -> None:
    ann = desk.by(Role.ADMINISTRATOR)
    csrf = ann.get("/").csrf
    for path, names in FIELDS.items():
        for name in names:
            answer = ann.post(path, {"identity": uri("alice"), name: "a\0b"}, csrf=csrf)
            assert (answer.status, f"{name}: a text has the" in answer.text) == (400, True), (path, name)
    for path, names in QUERIES.items():
        for name in names:
            answer = ann.get(path, {name: "a\0b"})
            assert (answer.status, f"{name}: a text has the" in answer.text) == (400, True), (path, name)


def scim_of(store: Store) -> Callable[..., Awaitable[ScimReply]]:
    settings = ScimSettings(
        identities=(Pattern("sip:{userName}@example.com", "x"), Pattern("tel:{phoneNumbers}", "x")),
        group=Pattern("sip:{displayName}@groups.example.com", "x"), base="https://kms.example.com/scim/v2",
    )  # fmt: skip
    served = ScimDesk(store, settings, lambda: 1_800_000_000_000_000_000)

    async def ask(method: str, path: str, document: object = None, query: str = "") -> ScimReply:
        body = b"" if document is None else json.dumps(document).encode()
        return await served.handle(
            ScimRequest(method=method, path=path, query=query, body=body), Actor(name="scim x", source="x")
        )

    return ask


def test_a_field_of_scim(store_url: str) -> None:
    async def story(store: Store) -> None:
        ask = scim_of(store)
        made = await ask("POST", "/Users", {"schemas": [USER], "userName": "bob"})
        assert made.document is not None
        bob = f"/Users/{made.document['id']}"
        for name, more in (
            ("userName", {"userName": "a\0b"}),
            ("displayName", {"displayName": "a\0b"}),
            ("externalId", {"externalId": "a\0b"}),
            ("formatted", {"name": {"formatted": "a\0b"}}),
            ("value", {"emails": [{"value": "a\0b@example.com"}]}),
            ("value", {"phoneNumbers": [{"value": "+46\0"}]}),
            ("note", {"note": "a\0b"}),
        ):
            for method, path in (("POST", "/Users"), ("PUT", bob)):
                fields = {"schemas": [USER], "userName": "alice", **more}
                reply = await ask(method, path, fields)
                assert (reply.status, reply.reason) == (400, "invalidValue"), (method, more, reply)
                assert (reply.document or {})["detail"] == f"{name}: a text has the character NUL"
        operation = {"op": "replace", "path": "displayName", "value": "a\0b"}
        assert (await ask("PATCH", bob, {"schemas": [PATCH], "Operations": [operation]})).status == 400
        group = {"schemas": [GROUP], "displayName": "staff", "members": [{"value": "a\0b"}]}
        assert (await ask("POST", "/Groups", group)).status == 400
        for query in ('userName eq "a\\u0000b"', 'externalId eq "a\\u0000b"'):
            reply = await ask("GET", "/Users", query=f"filter={quote(query)}")
            assert reply.status in (200, 400)
            assert not (reply.document or {}).get("Resources")
        assert [record.name async for record in store.subscribers.records()] == [uri("bob")]

    with_store(store_url, story)


def test_an_import_names_line_and_field(kms: Kms, tmp_path: Path) -> None:
    for field in ("identity", "name", "groups", "psk_id", "sip_password"):
        values = {"identity": uri("alice"), field: "sip:a\0b@example.com"}
        rows = tmp_path / "people.csv"
        rows.write_text(",".join(values) + "\n" + ",".join(values.values()) + "\n")
        objects = tmp_path / "people.json"
        objects.write_text("\n" + json.dumps(values))
        for file in (rows, objects):
            code, _, err = kms.run("user", "import", str(file), "--bundles", str(tmp_path / "bundles"))
            assert (code, f"{file.name}:2: {field}: " in err) == (2, True), (file.name, field, err)
    record = {"name": "a\0b", "identities": [uri("alice")]}
    with pytest.raises(LocalError, match=r"^line 1: name: "):
        list(parse_subscribers([json.dumps(record)]))


def test_what_a_device_sends() -> None:
    fields = {"version": 1, "device": "a\0b", "message": ""}
    with pytest.raises(BadEnrolment, match=r"^device: "):
        Envelope.decode(json.dumps(fields).encode())
    assert Ask.decode(b'{"act": "redeem", "name": "a\\u0000b"}').name == "a\\x00b"


@pytest.mark.parametrize("text", ["x:a\0b", "tel:+46;phone-context=a\0b", "sip:a\0b@example.com"])
def test_an_identity(text: str) -> None:
    for read in (canonical, normal_identity):
        with pytest.raises(LocalError):
            read(text)


def test_an_identity_that_a_message_claims(tmp_path: Path) -> None:
    domain = Domain.make(tmp_path)
    message = domain.request(identity="x:a.b").message.replace(b"x:a.b", b"x:a\0b")
    outcome = domain.handle(message, Exchange.REQUEST)
    assert (outcome.reason, outcome.status) == ("invalid-identity", 403)
    assert "control character" in outcome.event.detail
    domain.close()


def test_a_rule_that_no_audit_event_could_name() -> None:
    with pytest.raises(PolicyError, match=r"rule 1: name: .* cannot be printed"):
        parse_policy('[[rule]]\nname = "a\\u0000b"\nfrom = ["*"]\nto = ["*"]\ndecision = "allow"\n')


def test_words_of_a_peer_in_the_audit_log(store_url: str) -> None:
    async def story(store: Store) -> None:
        event = AuditEvent(
            time_ns=1, exchange=Exchange.UNKNOWN, decision=Decision.REFUSED, reason="x", detail="a\0b\ud800"
        )
        await store.audit.append(event)
        (kept,) = await store.audit.query(AuditQuery())
        assert kept.detail == "a\\x00b\\ud800"

    with_store(store_url, story)


def test_the_identifier_of_a_key_is_octets(store_url: str) -> None:
    async def story(store: Store) -> None:
        psk = PskRecord(key_id=b"a\0b", key=Secret(bytes(32)))
        await store.subscribers.add(SubscriberRecord(name="a", identities=(uri("a"),), psks=(psk,)))
        found = await store.subscribers.psk_by_key_id(b"a\0b")
        assert found is not None

    with_store(store_url, story)
