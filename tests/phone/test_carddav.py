"""Address books read from a real CardDAV server, Radicale; and what a server may answer instead."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from radicale import config
from radicale.app import Application

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.phone import Phone, fold
from sipmikey.phone.edge.book import Server
from sipmikey.phone.edge.carddav import read_book
from sipmikey.phone.people import completions, to_dial

BOB = "sip:bob@example.com"


def card(uid: str, name: str, more: str) -> str:
    lines = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{name}", f"N:{name};;;;", more, "END:VCARD", "")
    return "\r\n".join(lines)


CARDS = {
    "bob.vcf": card("b", "Bob Berg", f"IMPP:{BOB}"),
    "carol.vcf": card("c", "Carol Ek", "TEL:+46 70 123"),
    "dan.vcf": card("d", "Dan", "EMAIL:dan@example.com"),
}

App = Callable[..., Any]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[App], str]]:
    """Serve a WSGI application and return its address."""
    running: list[WSGIServer] = []

    def start(application: App) -> str:
        server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def radicale(tmp_path: Path, serve: Callable[[App], str]) -> str:
    """A server with one address book of alice, whose password is `open`."""
    users = tmp_path / "users"
    users.write_text("alice:open\n")
    collections = tmp_path / "data" / "collection-root" / "alice"
    for name, properties in (("people", {"tag": "VADDRESSBOOK"}), ("days", {"tag": "VCALENDAR"})):
        (collections / name).mkdir(parents=True)
        (collections / name / ".Radicale.props").write_text(json.dumps(properties))
    for name, text in CARDS.items():
        (collections / "people" / name).write_text(text, newline="")
    settings = config.load()
    settings.update(
        {
            "auth": {
                "type": "htpasswd", "htpasswd_filename": str(users), "htpasswd_encryption": "plain",
                "delay": "0",
            },
            "storage": {"filesystem_folder": str(tmp_path / "data")},
            "logging": {"level": "critical"},
        },
        "test",
    )  # fmt: skip
    return serve(Application(settings))


def server(url: str, password: str = "open") -> Server:
    return Server(url=url, username="alice", password=Secret(password.encode()))


@pytest.mark.parametrize("path", ["/alice/people/", "/alice/", "/"])
def test_a_book_is_found_from_its_server_and_read(radicale: str, path: str) -> None:
    found = {one.name: one.identity for one in read_book(server(f"{radicale}{path}"))}
    assert found == {"Bob Berg": BOB, "Carol Ek": "tel:+4670123"}


def test_names_are_completed_from_the_book_which_is_said(radicale: str) -> None:
    contacts = [asdict(one) for one in read_book(server(radicale))]
    phone = fold(Phone(), {"type": "book.read", "book": "127.0.0.1", "contacts": contacts})
    (found,) = completions(phone.people, "ber")
    assert found.line == "Bob Berg (127.0.0.1)"
    assert phone.label(BOB) == "Bob Berg (127.0.0.1)"
    assert to_dial(phone.people, "bob berg") == BOB
    mine = fold(phone, {"type": "contact.saved", "identity": BOB, "name": "Bobby"})
    assert [one.line for one in mine.people] == ["Bobby", "Carol Ek (127.0.0.1)"]
    again = fold(mine, {"type": "book.read", "book": "127.0.0.1", "contacts": []})
    assert [one.line for one in again.people] == ["Bobby"]


def test_a_wrong_password_is_told(radicale: str) -> None:
    with pytest.raises(LocalError, match="does not accept the user name and password"):
        read_book(server(radicale, "shut"))
    failed = {"type": "book.failed", "book": "127.0.0.1", "detail": "no"}
    assert fold(Phone(), failed).notices[-1].bad


def answer(status: str, body: bytes = b"", **headers: str) -> App:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [(name.title(), value) for name, value in headers.items()])
        return [body]

    return application


def test_the_password_does_not_go_to_another_server(serve: Callable[[App], str]) -> None:
    asked: list[object] = []

    def other_server(environ: dict[str, Any], start_response: Any) -> Any:
        asked.append(environ)
        return answer("200 OK")(environ, start_response)

    other = serve(other_server)
    url = serve(answer("302 Found", location=f"{other}/book"))
    with pytest.raises(LocalError, match="leads to another server"):
        read_book(server(url))
    assert asked == []


BOMB = b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize("body", [b"", b"<html>hello", BOMB, b'<d:multistatus xmlns:d="DAV:"/>'])
def test_what_is_not_an_address_book_is_told(serve: Callable[[App], str], body: bytes) -> None:
    with pytest.raises(LocalError, match="address book"):
        read_book(server(serve(answer("207 Multi-Status", body))))


def test_it_does_not_go_in_clear_over_the_network() -> None:
    with pytest.raises(LocalError, match="https only"):
        read_book(server("http://example.invalid/"))


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(LocalError, match="refused"):
        read_book(server("http://127.0.0.1:9/"))
