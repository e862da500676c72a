"""NOTIFY for users whose boxes changed: sent until answered, again where nobody could be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sipmikey.mailbox.notify import Notifier, NotifySettings
from sipmikey.mailbox.store import BoxUse
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import SipMessage
from sipmikey.sip.message_summary import MessageSummary, parse_summary

BOB = "sip:bob@example.com"


@dataclass
class Proxy(asyncio.DatagramProtocol):
    """A proxy that answers with the statuses given, in turn; to 0 it says nothing."""

    statuses: list[int]
    came: asyncio.Queue[SipMessage] = field(default_factory=asyncio.Queue)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = SipMessage.parse(data)
        self.came.put_nowait(request)
        status = self.statuses.pop(0)
        for _ in range(2 if status else 0):  # proxies repeat themselves
            headers = tuple(
                (name, value)
                for name, value in request.headers
                if name in ("Via", "From", "To", "Call-ID", "CSeq")
            )
            answer = SipMessage(start_line=f"SIP/2.0 {status} Told", headers=headers)
            self.transport.sendto(answer.encode(), addr)  # type: ignore[attr-defined]


async def told(statuses: list[int], use: Callable[[str], BoxUse], count: int) -> list[SipMessage]:
    """Return the first *count* requests that reach a proxy."""
    loop = asyncio.get_running_loop()
    transport, proxy = await loop.create_datagram_endpoint(
        lambda: Proxy(statuses), local_addr=("127.0.0.1", 0)
    )
    address = transport.get_extra_info("sockname")[:2]
    notifier = Notifier(NotifySettings(proxy=address, identity="sip:mailbox@example.com", again_s=0.05), use)
    await notifier.open()
    try:
        notifier.changed(BOB)
        notifier.changed(BOB)
        async with asyncio.timeout(20):
            return [await proxy.came.get() for _ in range(count)]
    finally:
        await notifier.close()
        transport.close()


def test_the_counts_are_told_and_an_unanswered_request_is_repeated() -> None:
    first, again = asyncio.run(told([0, 200], lambda _: BoxUse(2, 1, 9), 2))
    assert first == again
    assert (first.method, first.request_uri, first.first("event")) == ("NOTIFY", BOB, "message-summary")
    assert parse_summary(first.content) == MessageSummary(waiting=True, account=BOB, new=2, old=1)


def test_who_is_not_registered_is_told_again_while_messages_wait() -> None:
    uses = [BoxUse(1, 0, 9), BoxUse(1, 0, 9), BoxUse(0, 1, 9)]
    requests = asyncio.run(told([404, 404, 404, 404], lambda _: uses.pop(0), 3))
    assert [parse_summary(one.content).new for one in requests] == [1, 1, 0]
    assert len({one.first("call-id") for one in requests}) == 3
    assert uses == []


def test_a_change_while_the_telling_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = [BoxUse(1, 0, 9), BoxUse(2, 0, 9)]

    async def use() -> list[SipMessage]:
        loop = asyncio.get_running_loop()
        changed = Notifier.changed
        notifiers: list[Notifier] = []

        def noted(notifier: Notifier, box: str) -> None:
            notifiers.append(notifier)
            changed(notifier, box)

        monkeypatch.setattr(Notifier, "changed", noted)

        def logged(*_: object, **__: object) -> None:
            if uses:  # runs when the task has ended, before those who wait for its end are called
                loop.call_soon(changed, notifiers[0], BOB)

        monkeypatch.setattr("sipmikey.mailbox.notify.log.info", logged)
        return await told([200, 200], lambda _: uses.pop(0), 2)

    assert [parse_summary(one.content).new for one in asyncio.run(use())] == [1, 2]


def test_a_proxy_without_address_is_told() -> None:
    async def use() -> None:
        settings = NotifySettings(proxy=("nowhere.invalid", 5060), identity="sip:mailbox@example.com")
        with pytest.raises(LocalError, match=r"mwi\.proxy"):
            await Notifier(settings, lambda _: BoxUse(0, 0, 0)).open()

    asyncio.run(use())
