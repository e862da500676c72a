"""SCIM: a real client's conformance checks, what identity providers send, and what attackers do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from sipmikey.cli.main import main
from sipmikey.kms.audit import AuditQuery
from sipmikey.kms.provisioning.people import Pattern
from sipmikey.kms.scim.desk import ScimDesk, ScimSettings
from sipmikey.kms.server.enrolment import AddressFailures
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.protocol import RequestHead
from sipmikey.kms.server.scim import ScimPages
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.secret import Secret
from sipmikey.rate_limit import RateLimiter
from tests.kms.http.serving import Service, Site, serving

T = TypeVar("T")
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Scim(NamedTuple):
    site: Site
    service: Service
    token: str

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request; return status and document. Names of headers have _ for -."""
        with_token = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/scim+json"}
        given = with_token | {name.replace("_", "-"): value for name, value in headers.items()}
        body = document if isinstance(document, bytes) else None if document is None else json.dumps(document)
        connection = self.service.connection()
        try:
            connection.request(method, f"/scim/v2{path}", body, given)
            response = connection.getresponse()
            text = response.read()
            is_scim = response.headers["content-type"] == "application/scim+json"
            return response.status, json.loads(text) if is_scim else None
        finally:
            connection.close()

    def user(self, user_name: str, **more: Any) -> str:
        """Add a user; return the identifier."""
        status, document = self.ask("POST", "/Users", {"schemas": [USER], "userName": user_name, **more})
        assert status == 201, document
        return str(document["id"])

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> tuple[int, Any]:
        return self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)


@pytest.fixture(scope="module")
def scim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scim]:
    folder = tmp_path_factory.mktemp("scim")
    site = Site(folder / "site")
    site.configure(
        "scim",
        enabled=True,
        identities=["sip:{userName}@example.com"],
        group_identity="sip:{displayName}@groups.example.com",
        failures_burst=1000,
    )
    site.configure("enrolment", url="http://127.0.0.1:8043")
    words = ["kms", "scim", "token", "add", "tests", "--dir", str(site.directory)]
    assert main([*words, "--file", str(folder / "token")]) == 0
    with serving(site) as service:
        yield Scim(site, service, (folder / "token").read_text().strip())


def uri(name: str) -> str:
    return f"sip:{name}@example.com"


def test_a_conformance_checker_is_content(scim: Scim) -> None:
    headers = {"Authorization": f"Bearer {scim.token}"}
    with Client(base_url=f"{scim.service.url}/scim/v2", headers=headers, timeout=20) as http:
        results = check_server(SyncSCIMClient(http))
    failed = [
        f"{result.title}: {result.reason}"
        for result in results
        if result.status not in (Status.SUCCESS, Status.SKIPPED)
    ]
    # Clients see at any time whether a user is active.
    failed.remove("check_remove_attribute: PATCH modify() did not remove attribute 'active'")
    assert not failed, "\n".join(failed)
    assert len(results) > 20


def test_a_user_comes_leaves_and_goes(scim: Scim) -> None:
    key = scim.user("alice", name={"formatted": "Alice"}, externalId="e1", password="not kept", title="x")
    assert scim.site.users()[uri("alice")] is True
    status, found = scim.ask("GET", '/Users?filter=userName%20eq%20"ALICE"')
    assert (status, [one["id"] for one in found["Resources"]]) == (200, [key])
    assert "password" not in json.dumps(found)
    status, found = scim.ask("GET", '/Users?filter=externalId%20eq%20"e1"')
    assert [one["id"] for one in found["Resources"]] == [key]
    # As Entra and as Okta write it.
    assert scim.patch(f"/Users/{key}", {"op": "Replace", "path": "active", "value": "False"})[0] == 200
    assert scim.site.users()[uri("alice")] is False
    assert scim.patch(f"/Users/{key}", {"op": "replace", "value": {"active": True}})[0] == 200
    assert scim.site.users()[uri("alice")] is True
    assert scim.ask("POST", "/Users", {"schemas": [USER], "userName": "Alice"})[0] == 409
    assert scim.ask("DELETE", f"/Users/{key}")[0] == 204
    assert uri("alice") not in scim.site.users()
    assert scim.ask("GET", f"/Users/{key}")[0] == 404
    assert scim.ask("DELETE", f"/Users/{key}")[0] == 404


def test_who_leaves_has_no_device_and_no_invitation(scim: Scim, capsys: pytest.CaptureFixture[str]) -> None:
    key = scim.user("lena")
    words = ["--dir", str(scim.site.directory), "--json"]
    assert main(["kms", "user", "invite", uri("lena"), "--url", scim.service.url, *words]) == 0
    assert scim.patch(f"/Users/{key}", {"op": "replace", "path": "active", "value": False})[0] == 200

    async def act(store: Store) -> int:
        return len(await store.devices.open_invitations(uri("lena")))

    assert scim.site.on_store(act) == 0
    capsys.readouterr()
    assert main(["kms", "audit", *words, "--subscriber", uri("lena"), "--oldest-first"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["rule"] for event in events] == ["add", "invite", "disable", "uninvite"]
    assert events[-1]["source"] == "127.0.0.1"
    assert events[-1]["detail"] == "by scim tests"


def test_a_group_has_the_members_that_it_is_told(scim: Scim) -> None:
    first, second = scim.user("gina"), scim.user("gert")
    members = [{"value": first}, {"value": second}]
    status, group = scim.ask(
        "POST", "/Groups", {"schemas": [GROUP], "displayName": "Field Sales (EU)", "members": members}
    )
    assert status == 201, group

    async def act(store: Store) -> dict[str, tuple[str, ...]]:
        return {found.uri: found.members for found in await store.subscribers.groups()}

    name = "sip:field-sales-eu@groups.example.com"
    assert scim.site.on_store(act)[name] == (uri("gert"), uri("gina"))
    path = f"/Groups/{group['id']}"
    remove = {"op": "remove", "path": f'members[value eq "{first}"]'}
    assert scim.patch(path, remove)[0] == 200
    assert scim.site.on_store(act)[name] == (uri("gert"),)
    assert scim.patch(path, {"op": "Add", "path": "members", "value": [{"value": first}]})[0] == 200
    as_entra = {"op": "Remove", "path": "members", "value": [{"value": second}]}
    assert scim.patch(path, as_entra)[0] == 200
    assert scim.site.on_store(act)[name] == (uri("gina"),)
    assert scim.ask("GET", f"/Users/{first}")[1]["groups"][0]["display"] == "Field Sales (EU)"
    # Its name may change; the identity that rules name does not.
    assert scim.patch(path, {"op": "replace", "path": "displayName", "value": "Sales"})[0] == 200
    assert name in scim.site.on_store(act)
    assert scim.patch(path, {"op": "add", "path": "members", "value": [{"value": group["id"]}]})[0] == 400
    assert scim.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": "field sales eu"})[0] == 409
    assert scim.ask("DELETE", path)[0] == 204
    assert name not in scim.site.on_store(act)


def test_pages_and_versions(scim: Scim) -> None:
    keys = [scim.user(f"page{number}") for number in range(3)]
    status, page = scim.ask("GET", "/Users?startIndex=2&count=2&attributes=userName")
    assert (status, page["startIndex"], page["itemsPerPage"]) == (200, 2, 2)
    assert set(page["Resources"][0]) == {"schemas", "id", "userName"}
    assert scim.ask("GET", "/Users?count=0")[1]["Resources"] == []
    etag = scim.ask("GET", f"/Users/{keys[0]}")[1]["meta"]["version"]
    assert scim.ask("GET", f"/Users/{keys[0]}", If_None_Match=etag)[0] == 304
    change = {"op": "replace", "path": "displayName", "value": "P"}
    assert scim.patch(f"/Users/{keys[0]}", change, If_Match=etag)[0] == 200
    assert scim.patch(f"/Users/{keys[0]}", change, If_Match=etag)[0] == 412
    assert scim.ask("DELETE", f"/Users/{keys[0]}", If_Match=etag)[0] == 412


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", ""),
        ("Authorization", "Bearer"),
        ("Authorization", "Bearer wrong"),
        ("Authorization", "Basic dGVzdHM6dGVzdHM="),
        ("Authorization", "Bearer " + "x" * 5000),
        ("Authorization", "Bearer ' OR 1=1 --"),
    ],
)
def test_who_has_no_token_learns_nothing(scim: Scim, header: str, value: str) -> None:
    for method, path in (("GET", "/Users"), ("GET", "/Schemas"), ("POST", "/Users"), ("DELETE", "/Users/1")):
        status, document = scim.ask(method, path, None, **{header: value})
        assert (status, document["detail"]) == (401, "a token of this KMS is needed")


NASTY = [
    "", " ", "*", "a*", "a b", "alice@evil.example", "sip:x@y", "a;b", "a%40b", "ålice", "a\nb", "a\x00b",
    "../x",
    "<script>alert(1)</script>", "' OR 1=1 --", "a" * 300, 7, None, True, [], {}, ["x"], {"x": 1},
]  # fmt: skip


def test_no_value_of_any_field_does_more_than_it_should(scim: Scim) -> None:
    before = scim.site.users()
    for value in NASTY:
        status, document = scim.ask("POST", "/Users", {"schemas": [USER], "userName": value})
        assert status in (400, 409), (value, document)
        assert document["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        status, document = scim.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": value})
        if status == 201:
            assert re.search("[A-Za-z0-9]", str(value))
            assert scim.ask("DELETE", f"/Groups/{document['id']}")[0] == 204
        else:
            assert status in (400, 409), (value, document)
    assert scim.site.users() == before


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/Users?filter=userName%20eq", None, 400),
        ("GET", "/Users?filter=nothing%20eq%20%22x%22", None, 400),
        ("GET", '/Users?filter=userName%20eq%20"%5Cud800"', None, 400),
        ("GET", "/Users?filter=" + "(" * 500, None, 400),
        ("GET", "/Users?filter=" + "not%20(" * 300 + "userName%20pr" + ")" * 300, None, 400),
        ("GET", "/Users?startIndex=x", None, 400),
        ("GET", "/Users?count=1&count=2", None, 400),
        ("GET", "/Users/%2e%2e%2fGroups", None, 404),
        ("GET", "/Users/" + "x" * 300, None, 404),
        ("GET", "/Nothing", None, 404),
        ("POST", "/Bulk", {}, 501),
        ("POST", "/Users", b"{", 400),
        ("POST", "/Users", b"[]", 400),
        ("POST", "/Users", b"[" * 50_000, 400),
        ("POST", "/Users", b'{"userName": NaN}', 400),
        ("POST", "/Users", {"schemas": [USER], "userName": "big", "displayName": "x" * 70_000}, 400),
        ("POST", "/Users", b"x" * 100_000, 413),
        ("POST", "/Users/1", {}, 405),
        ("PUT", "/Users", {}, 405),
        ("TRACE", "/Users", None, 405),
    ],
)
def test_what_cannot_be_understood_is_refused(
    scim: Scim, method: str, path: str, body: Any, expected: int
) -> None:
    status, _ = scim.ask(method, path, body)
    assert status == expected


def test_another_kms_and_users_of_other_sources_are_not_taken_over(scim: Scim) -> None:
    scim.site.add(uri("peer"), "--vouches-for", "sip:*@example.org")
    assert scim.ask("POST", "/Users", {"schemas": [USER], "userName": "peer"})[0] == 409
    scim.site.add(uri("byhand"))
    scim.user("byhand")


def test_a_token_that_is_taken_back_opens_nothing(scim: Scim, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dir", str(scim.site.directory), "--json"]
    assert main(["kms", "scim", "token", "add", "short", *words]) == 0
    token = json.loads(capsys.readouterr().out.splitlines()[-1])["token"]
    header = {"Authorization": f"Bearer {token}"}
    assert scim.ask("GET", "/Users?count=0", **header)[0] == 200
    assert main(["kms", "scim", "token", "list", *words]) == 0
    assert token not in capsys.readouterr().out
    assert main(["kms", "scim", "token", "remove", "short", *words]) == 0
    assert scim.ask("GET", "/Users?count=0", **header)[0] == 401
    database = (scim.site.directory / "kms.sqlite").read_bytes()
    assert scim.token.encode() not in database


def head(method: bytes, *headers: tuple[bytes, bytes], names: frozenset[str] = frozenset()) -> RequestHead:
    return RequestHead(
        method=method, path=b"/scim/v2/Users", query=b"count=0", headers=list(headers), source="192.0.2.1",
        peer_names=names,
    )  # fmt: skip


@asynccontextmanager
async def pages(tmp_path: Path, *, burst: int) -> AsyncIterator[tuple[Store, ScimPages]]:
    """Serve in this process, with a limit of wrong tokens and a client that has a certificate."""
    store = await open_store(f"sqlite:{tmp_path}/kms.sqlite", Secret(bytes(32)), create=True)
    settings = ScimSettings(identities=(Pattern("sip:{userName}@example.com", "x"),), group=None, base="/")
    try:
        yield (
            store,
            ScimPages(
                ScimDesk(store, settings, lambda: 1_800_000_000_000_000_000),
                store,
                metrics=Metrics(),
                failures=AddressFailures(RateLimiter(per_second=1 / 60, burst=burst, now=lambda: 0.0)),
                certificates=frozenset({"scim.example.com"}),
                handle_s=20.0,
            ),
        )
    finally:
        await store.close()


def test_who_guesses_tokens_waits_and_is_in_the_audit_log(tmp_path: Path) -> None:
    async def story() -> None:
        async with pages(tmp_path, burst=3) as (store, served):
            wrong = [head(b"GET", (b"authorization", b"Bearer guess%d" % number)) for number in range(5)]
            answers = [await served.answer(one, b"") for one in wrong]
            assert [answer.status for answer in answers] == [401, 401, 401, 429, 429]
            assert dict(answers[-1].headers)[b"retry-after"] == b"60"
            events = await store.audit.query(AuditQuery())
            assert [(event.decision, event.reason) for event in events] == [
                ("refused", "token-not-valid")
            ] * 3

    asyncio.run(story())


def test_a_client_with_its_certificate_needs_no_token(tmp_path: Path) -> None:
    async def story() -> None:
        async with pages(tmp_path, burst=3) as (_, served):
            for name, status in (("scim.example.com", 200), ("evil.example.com", 401)):
                answer = await served.answer(head(b"GET", names=frozenset({name})), b"")
                assert answer.status == status

    asyncio.run(story())


def test_scim_is_served_over_tls_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path / "site")
    site.configure("scim", enabled=True, identities=["sip:{userName}@example.com"])
    site.edit('listen = ["127.0.0.1:8043"]', 'listen = ["0.0.0.0:0"]\nplain_http = "yes, without TLS"')
    assert main(["kms", "serve", "--dir", str(site.directory)]) == 2
    assert "scim.enabled needs TLS" in capsys.readouterr().err
