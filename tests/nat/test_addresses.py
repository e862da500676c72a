"""The watch over our own address: it tells of another one, and of a sleep, and of nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import pytest

from sipmikey.nat import addresses
from sipmikey.nat.addresses import AddressWatch, Cause, Change, own_address

HOME, CAFE = "192.0.2.7", "198.51.100.9"


def told(monkeypatch: pytest.MonkeyPatch, looks: Iterable[tuple[str, float]], count: int) -> list[Change]:
    """Return the first *count* changes where each look finds (address, seconds asleep)."""
    found = iter(looks)
    now = next(found)

    def look() -> tuple[str, float]:
        nonlocal now
        now = next(found, now)
        return now

    monkeypatch.setattr(addresses, "_LOOK_S", 0.001)
    monkeypatch.setattr(addresses, "own_address", lambda **_: now[0])
    monkeypatch.setattr(addresses, "asleep_s", lambda: now[1])

    async def scenario() -> list[Change]:
        watch, made = AddressWatch(), list[Change]()
        monkeypatch.setattr(addresses, "own_address", lambda **_: look()[0])
        async for change in watch.changes():
            made.append(change)
            if len(made) == count:
                break
        return made

    return asyncio.run(asyncio.wait_for(scenario(), 20))


def test_another_address_is_told_once_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [(HOME, 0.0), (HOME, 0.0), ("", 0.0), ("", 0.0), (CAFE, 0.0), (CAFE, 0.0), (HOME, 0.0)]
    assert told(monkeypatch, looks, 2) == [
        Change(Cause.ADDRESS, HOME, CAFE), Change(Cause.ADDRESS, CAFE, HOME),
    ]  # fmt: skip


def test_a_sleep_is_told_also_where_the_address_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [(HOME, 1.0), (HOME, 1.5), (HOME, 600.0), (HOME, 600.0), (CAFE, 1300.0)]
    assert told(monkeypatch, looks, 2) == [
        Change(Cause.WAKING, HOME, HOME), Change(Cause.ADDRESS, HOME, CAFE),
    ]  # fmt: skip


def test_the_address_is_the_one_that_the_system_would_send_from() -> None:
    assert own_address(towards="127.0.0.1") == "127.0.0.1"
    assert own_address(ipv6=True, towards="::1") in ("::1", "")
    assert addresses.asleep_s() >= -1.0


def test_where_the_kernel_tells_nothing_its_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Deaf(socket.socket):
        def bind(self, address: object) -> None:
            made.append(self)
            raise PermissionError("no news for you")

    async def scenario() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", Deaf)
            with addresses._told_by_kernel(asyncio.Event()):
                pass

    asyncio.run(scenario())
    assert [sock.fileno() for sock in made] == [-1]
