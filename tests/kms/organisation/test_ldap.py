"""Users and groups taken over from a real LDAP server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sipmikey.cli.main import main
from sipmikey.kms.enrolment.records import DeviceRecord, InvitationRecord, IssuedCredential
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.secret import Secret
from tests.kms.http.serving import Site
from tests.kms.organisation.slapd import GROUPS, PAGE, PEOPLE, READER, READER_PASSWORD, Slapd

pytestmark = pytest.mark.interop

T = TypeVar("T")


class Synchronised:
    """A KMS that takes its users over from a server."""

    def __init__(self, site: Site, slapd: Slapd, capsys: pytest.CaptureFixture[str]) -> None:
        self.site, self.slapd, self._capsys = site, slapd, capsys

    def sync(self, *options: str, code: int = 0) -> list[dict[str, Any]]:
        """Run `sipmikey kms ldap sync`; return the documents."""
        self._capsys.readouterr()
        words = ["kms", "ldap", "sync", "--dir", str(self.site.directory), "--json", *options]
        assert main(words) == code
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def counts(self, *options: str, code: int = 0) -> dict[str, int]:
        changes = self.sync(*options, code=code)[-1]["changes"]
        return {name: count for name, count in changes.items() if count}

    def groups(self) -> dict[str, tuple[str, ...]]:
        async def act(store: Store) -> dict[str, tuple[str, ...]]:
            return {group.uri: group.members for group in await store.subscribers.groups()}

        return self.site.on_store(act)


@pytest.fixture
def kms(tmp_path: Path, slapd: Slapd, capsys: pytest.CaptureFixture[str]) -> Synchronised:
    site = Site(tmp_path / "site")
    (site.directory / "ldap.password").write_text(READER_PASSWORD)
    (site.directory / "ldap.password").chmod(0o600)
    site.configure(
        "ldap",
        url=f"ldap://localhost:{slapd.port}",
        ca_file=str(slapd.ca),
        bind_dn=READER,
        password_file="ldap.password",
        base=PEOPLE,
        identities=["sip:{uid}@example.com", "tel:{telephoneNumber}"],
        group_base=GROUPS,
        group_identity="sip:{cn}@groups.example.com",
        page=PAGE,
    )
    return Synchronised(site, slapd, capsys)


def uri(name: str) -> str:
    return f"sip:{name}@example.com"


async def give_a_device(store: Store) -> None:
    """Enrol a device of alice, and invite another."""
    now_s = 1_800_000_000
    for number in ("AAAA", "BBBB"):
        record = InvitationRecord(
            number=number, subscriber=uri("alice"), identity=uri("alice"), key=Secret(bytes(32)),
            created_s=now_s, expires_s=2 * now_s,
        )  # fmt: skip
        assert await store.devices.invite([record])
    device = DeviceRecord(
        device="alice.1", subscriber=uri("alice"), identity=uri("alice"), name="laptop",
        key=Secret(bytes(32)), generation=1, enrolled_s=now_s, seen_s=now_s, valid_until_s=2 * now_s,
    )  # fmt: skip
    assert await store.devices.redeem(
        "AAAA", device, IssuedCredential(), request=b"", answer=b"", now_s=now_s
    )


def test_users_come_change_leave_and_return(kms: Synchronised) -> None:
    alice = kms.slapd.person("alice", telephoneNumber="+46 (70) 123-45.67")
    bob = kms.slapd.person("bob")
    others = [kms.slapd.person(f"user{number}") for number in range(2 * PAGE)]
    phones = kms.slapd.group("phones", alice, bob.upper().replace("UID", "uid"), "uid=nobody,dc=elsewhere")
    assert kms.counts("--dry-run") == {"add": 2 * PAGE + 2, "group-add": 1, "group-members": 1}
    assert kms.site.users() == {}
    assert kms.counts() == {"add": 2 * PAGE + 2, "group-add": 1, "group-members": 1}
    assert len(kms.site.users()) == 2 * PAGE + 2
    assert kms.groups() == {"sip:phones@groups.example.com": (uri("alice"), uri("bob"))}
    assert kms.counts() == {}

    # Who changes the name keeps the entry, and so the subscriber.
    kms.slapd.rename(bob, "uid=robert")
    kms.slapd.change(phones, member=[alice, f"uid=robert,{PEOPLE}"])
    assert kms.counts() == {"change": 1}
    assert uri("robert") in kms.site.users()
    assert uri("bob") not in kms.site.users()
    assert kms.groups() == {"sip:phones@groups.example.com": (uri("alice"), uri("robert"))}

    # Who leaves has no device from then on, and no invitation.
    kms.site.on_store(give_a_device)
    kms.slapd.remove(alice)
    assert kms.counts()["leave"] == 1
    assert kms.site.users()[uri("alice")] is False

    async def devices(store: Store) -> tuple[bool, int]:
        (device,) = await store.devices.devices(uri("alice"))
        return device.revoked_s is not None, len(await store.devices.open_invitations(uri("alice")))

    assert kms.site.on_store(devices) == (True, 0)

    # A new entry of the same name may be another person's.
    new = kms.slapd.person("alice")
    assert "is another user's" in kms.sync(code=2)[0]["detail"]
    kms.slapd.remove(new)

    # An empty answer is more likely a wrong filter than that everybody has left.
    for name in others:
        kms.slapd.remove(name)
    kms.sync(code=2)
    assert kms.site.users()[uri("user0")] is True
    assert kms.counts("--force") == {"leave": 2 * PAGE}
    assert kms.counts() == {}


def test_a_subscriber_who_is_there_is_taken_over_and_others_are_left_alone(kms: Synchronised) -> None:
    kms.site.add(uri("alice"), name="from-a-list")
    kms.site.add(uri("carol"), name="carol-by-hand")
    kms.slapd.person("alice")
    assert kms.counts() == {"add": 1}
    assert kms.site.users() == {uri("alice"): True, uri("carol"): True}


def test_entries_with_a_problem_are_told_and_nobody_leaves_for_them(kms: Synchronised) -> None:
    alice = kms.slapd.person("alice")
    kms.slapd.person("bob")
    assert kms.counts() == {"add": 2}
    kms.slapd.change(alice, telephoneNumber="+1 extension evil")
    for uid in ("eve*", "a b", "alice@evil.example", "ålice", "x" * 129):
        kms.slapd.person(uid)
    documents = kms.sync(code=2)
    problems = {document["entry"] for document in documents if document["type"] == "kms.ldap.problem"}
    assert len(problems) == 6
    assert documents[-1]["changes"] == dict.fromkeys(documents[-1]["changes"], 0)
    assert kms.site.users() == {uri("alice"): True, uri("bob"): True}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ca_file", "/etc/ssl/certs/ca-certificates.crt"),
        ("url", "ldap://127.0.0.1:{port}"),
        ("url", "ldap://localhost:1"),
        ("bind_dn", "cn=nobody,dc=example,dc=com"),
        ("filter", "(objectClass="),
        ("base", "ou=nowhere,dc=example,dc=com"),
    ],
)
def test_a_server_that_cannot_be_read_changes_nothing(kms: Synchronised, setting: str, value: str) -> None:
    kms.slapd.person("alice")
    assert kms.counts() == {"add": 1}
    file = kms.site.directory / "kms.toml"
    before, _, section = file.read_text().partition("[ldap]\n")
    kept = [line for line in section.splitlines() if not line.startswith(f"{setting} = ")]
    kept.append(f'{setting} = "{value.format(port=kms.slapd.port)}"')
    file.write_text("\n".join([before, "[ldap]", *kept, ""]))
    kms.sync(code=4)
    assert kms.site.users() == {uri("alice"): True}


def test_ldaps_is_spoken_too(kms: Synchronised) -> None:
    kms.slapd.person("alice")
    kms.site.edit(f"ldap://localhost:{kms.slapd.port}", f"ldaps://localhost:{kms.slapd.tls_port}")
    assert kms.counts() == {"add": 1}
