"""Contacts and history at rest: sealed, with the key in a keyring or a file that only its owner can read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.phone import Phone, fold, replay
from sipmikey.phone.edge.place import place_of
from sipmikey.phone.edge.store import Store
from sipmikey.phone.edge.vcards import read_vcards, write_vcards
from sipmikey.phone.people import Contact
from sipmikey.sealed.vault import SERVICE, Vault
from tests.phone.documents import BOB, KMS, READY, ended, event, incoming, outgoing

KEY, OTHER = Secret(bytes(range(32))), Secret(bytes(32))


def lived(path: Path) -> Phone:
    """A phone that stores what it lives through."""
    phone = Phone()
    with Store(path, KEY) as store:
        saved = event("contact.saved", "", identity=BOB, name="Bob")
        for document in (READY, saved, *outgoing(), ended(), *incoming("2"), ended("2", reason="cancelled")):
            before, phone = phone, fold(phone, document)
            store.keep(before, phone)
    return phone


def test_what_was_stored_is_there_again(tmp_path: Path) -> None:
    phone = lived(tmp_path / "phone.db")
    with Store(tmp_path / "phone.db", KEY) as store:
        again = replay(store.documents())
    assert again.contacts == phone.contacts
    assert again.contacts[0].kms == KMS
    assert again.history == phone.history
    assert again.missed == 0


def test_the_file_tells_nothing_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "phone.db"
    lived(path)
    assert path.stat().st_mode & 0o777 == 0o600
    octets = path.read_bytes()
    for word in (b"bob", b"Bob", b"example.com", b"PROVEN", b"missed"):
        assert word not in octets


def test_removed_contacts_and_cleared_history_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "phone.db"
    phone = lived(path)
    with Store(path, KEY) as store:
        for document in (event("contact.removed", "", identity=BOB), event("history.cleared", "")):
            before, phone = phone, fold(phone, document)
            store.keep(before, phone)
        assert list(store.documents()) == []


def test_another_key_and_an_altered_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "phone.db"
    lived(path)
    with Store(path, OTHER) as store, pytest.raises(LocalError, match="does not open"):
        list(store.documents())
    with sqlite3.connect(path) as database:
        database.execute("update contact set sealed = (select sealed from history limit 1)")
    with Store(path, KEY) as store, pytest.raises(LocalError, match="does not open"):
        list(store.documents())


class MemoryKeyring:
    """A keyring that keeps secrets in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        self.kept[service, name] = secret

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


def test_secrets_go_to_the_keyring_and_nowhere_else(tmp_path: Path) -> None:
    keyring = MemoryKeyring()
    vault = Vault(tmp_path, keyring)
    vault.put("alice", Secret(b"sesame"))
    assert keyring.kept == {(SERVICE, "alice"): "sesame"}
    assert list(tmp_path.iterdir()) == []
    assert vault.key("store").reveal() == Vault(tmp_path, keyring).key("store").reveal()
    vault.forget("alice")
    assert vault.get("alice") is None


def test_without_a_keyring_a_file_of_its_owner_is_used_and_said(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "new", None)
    vault.put("alice", Secret(b"sesame"))
    path = tmp_path / "new" / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(path) in str(place_of(vault))
    found = Vault(tmp_path / "new", None).get("alice")
    assert found is not None
    assert found.reveal() == b"sesame"
    path.chmod(0o644)
    with pytest.raises(LocalError, match="chmod 600"):
        vault.get("alice")


VCARDS = """\
BEGIN:VCARD
VERSION:4.0
FN:Bob Berg
IMPP:sip:bob@example.com
TEL;VALUE=uri:tel:+46-70-1234567
END:VCARD
BEGIN:VCARD
VERSION:3.0
FN:Anna
TEL;TYPE=WORK:+46 8 123
END:VCARD
BEGIN:VCARD
VERSION:3.0
FN:Nobody to call
EMAIL:x@example.com
END:VCARD
"""


def test_vcards_are_read() -> None:
    bob, anna = read_vcards(VCARDS)
    assert (bob.name, bob.identity, bob.numbers) == ("Bob Berg", BOB, ("tel:+46701234567",))
    assert (anna.name, anna.identity) == ("Anna", "tel:+468123")


def test_vcards_come_back_as_they_were_written() -> None:
    contacts = (Contact(identity=BOB, name="Bob, the; Berg", kms=KMS, numbers=("tel:+4670",)),)
    assert read_vcards(write_vcards(contacts)) == contacts


@pytest.mark.parametrize("text", ["nonsense", "BEGIN:VCARD\nFN", '{"a": 1}'])
def test_what_is_not_vcards_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        read_vcards(text)
