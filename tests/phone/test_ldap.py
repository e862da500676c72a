"""Address books read from a real LDAP server, slapd; and what an LDAP URL may lack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipmikey.cli.config.sections.people import AddressBook
from sipmikey.cli.phone.books import documents, servers
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.phone import Phone, fold
from sipmikey.phone.edge import ldap
from sipmikey.phone.edge.book import Server
from sipmikey.phone.edge.ldap import read_people
from sipmikey.phone.people import completions
from tests.kms.organisation.slapd import PAGE, PEOPLE, READER, READER_PASSWORD, Slapd

BOB = "sip:bob@example.com"


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    server.person(
        "bob", cn="Bob Berg", labeledURI=[f"{BOB} desk", "https://example.com/bob"], mobile="+46 70 123"
    )
    server.person("carol", cn="Carol \u202eEk", telephoneNumber="+46 70 456")
    server.person("dan", cn="Dan", mail="dan@example.com")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ldap, "PAGE", PAGE)
        yield server
    server.close()


@pytest.mark.interop
def test_names_are_completed_from_the_directory(slapd: Slapd) -> None:
    named = AddressBook(
        url=f"ldaps://localhost:{slapd.tls_port}/{PEOPLE}", username=READER,
        password=Secret(READER_PASSWORD.encode()), ca_file=slapd.ca,
    )  # fmt: skip
    (read,) = documents(servers([named]))
    assert read["type"] == "book.read", read
    phone = fold(Phone(), read)
    assert {one.name: (one.identity, one.numbers) for one in phone.people} == {
        "Bob Berg": (BOB, ("tel:+4670123",)), "Carol Ek": ("tel:+4670456", ()),
    }  # fmt: skip
    (found,) = completions(phone.people, "ber")
    assert found.line == "Bob Berg (localhost)"


@pytest.mark.interop
def test_attributes_and_filter_are_those_of_the_url_and_tls_is_begun(slapd: Slapd) -> None:
    url = f"ldap://localhost:{slapd.port}/{PEOPLE}?mobile?one?(uid=bob)"
    reader = Server(url=url, username=READER, password=Secret(READER_PASSWORD.encode()), ca_file=slapd.ca)
    assert [one.identity for one in read_people(reader)] == ["tel:+4670123"]
    with pytest.raises(LocalError, match="certificate"):
        read_people(Server(url=url, username=READER, password=Secret(READER_PASSWORD.encode())))


@pytest.mark.interop
def test_a_wrong_password_is_told_without_it(slapd: Slapd, tmp_path: Path) -> None:
    url = f"ldaps://localhost:{slapd.tls_port}/{PEOPLE}"
    (failed,) = documents([Server(url=url, username=READER, password=Secret(b"hunter2"), ca_file=slapd.ca)])
    assert "invalidCredentials" in failed["detail"]
    assert "hunter2" not in str(failed)


@pytest.mark.parametrize("url", ["ldaps://localhost", "ldaps://localhost/ou=a??all"])
def test_what_a_url_lacks_is_told(url: str) -> None:
    with pytest.raises(LocalError, match=r"localhost.*: (say where the people are|the scope all)"):
        read_people(Server(url=url))
