"""The door in front of the KMS: open, slow, shut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from sipmikey.testing.door import Door


@pytest.fixture
def door() -> Iterator[Door]:
    """A door before a server that gives back what it gets, and ends when the caller does."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    door = Door(listener.getsockname()[1])
    door.start()
    yield door
    door.stop()
    listener.close()


def exchange(door: Door, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", door.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_an_open_door_lets_everything_through(door: Door) -> None:
    assert exchange(door, b"x" * 100_000) == b"x" * 100_000


def test_a_slow_door_holds_answers_back(door: Door) -> None:
    door.delay_s = 0.2
    began = time.monotonic()
    assert exchange(door, b"ticket") == b"ticket"
    assert time.monotonic() - began >= 0.2
    door.delay_s = 0.0
    assert exchange(door, b"ticket") == b"ticket"


def test_a_shut_door_answers_nothing_and_can_be_opened_again(door: Door) -> None:
    door.shut = True
    with suppress(OSError):
        assert exchange(door, b"ticket") == b""
    door.shut = False
    assert exchange(door, b"ticket") == b"ticket"
