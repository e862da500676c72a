"""Telling users that messages wait: unsolicited NOTIFY requests (RFC 3842) by way of a SIP proxy, over UDP.

The proxy knows where a user is registered. Who is not registered is told later: it is tried again and again
while there are messages that were not heard.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sipmikey.mailbox.refusals import StoreFailed
from sipmikey.mailbox.store import BoxUse
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import SipMalformed, SipMessage
from sipmikey.sip.message_summary import EVENT, MEDIA_TYPE, MessageSummary

T1_S, T2_S, TIMEOUT_S = 0.5, 4.0, 32.0
"""Timers of a transaction over UDP (RFC 3261 section 17.1.2.2)."""

AT_ONCE = 32

log = logging.getLogger("sipmikey.mailbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """``proxy``: where requests are sent, host and port. ``identity``: the URI of the mailbox itself.

    ``again_s``: seconds until a user who could not be told is told again.
    """

    proxy: tuple[str, int]
    identity: str
    again_s: float = 60.0


def notify_request(
    box: str, use: BoxUse, *, identity: str, address: str, call_id: str, branch: str
) -> SipMessage:
    """Return the NOTIFY for the owner of *box*. *address*: our own, ``host:port``."""
    summary = MessageSummary(waiting=use.new > 0, account=box, new=use.new, old=use.old)
    headers = (
        ("Via", f"SIP/2.0/UDP {address};branch={branch};rport"),
        ("Max-Forwards", "70"),
        ("From", f"<{identity}>;tag={call_id[:8]}"),
        ("To", f"<{box}>"),
        ("Call-ID", call_id),
        ("CSeq", "1 NOTIFY"),
        ("Contact", f"<sip:mailbox@{address}>"),
        ("Event", EVENT),
        ("Subscription-State", "active"),
        ("Content-Type", MEDIA_TYPE),
    )
    return SipMessage(start_line=f"NOTIFY {box} SIP/2.0", headers=headers, content=summary.encode())


class Notifier(asyncio.DatagramProtocol):
    """Tells of every box whose counts changed; *use* gives them at the time of sending.

    ``open`` before use, ``close`` in the end. Of one box only one NOTIFY is under way at a time.
    """

    def __init__(self, settings: NotifySettings, use: Callable[[str], BoxUse]) -> None:
        self._settings = settings
        self._use = use
        self._address = ""
        self._transport: asyncio.DatagramTransport | None = None
        self._answers: dict[str, asyncio.Future[int]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._due: set[str] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def open(self) -> None:
        """Open the socket. Raises `LocalError` where the proxy's name has no address."""
        host, port = self._settings.proxy
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            address = found[0][4]
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self, remote_addr=(str(address[0]), int(address[1]))
            )
        except OSError as error:
            raise LocalError(f"mwi.proxy: {host}:{port}: {error.strerror or error}") from None
        self._transport = transport
        own, own_port = transport.get_extra_info("sockname")[:2]
        self._address = f"[{own}]:{own_port}" if ":" in own else f"{own}:{own_port}"

    async def close(self) -> None:
        """Stop telling."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()

    def changed(self, box: str) -> None:
        """Have the owner of *box* told."""
        self._due.add(box)
        if box not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._tell(box))
            self._tasks[box] = task
            task.add_done_callback(lambda task: self._told(box, task))

    def _told(self, box: str, task: asyncio.Task[None]) -> None:
        del self._tasks[box]
        # The box may have changed between the last look and here.
        if box in self._due and not task.cancelled():
            self.changed(box)

    async def _tell(self, box: str) -> None:
        told = True
        while box in self._due or not told:
            self._due.discard(box)
            try:
                use = self._use(box)
            except StoreFailed as error:
                log.error("store-failed", extra={"fields": {"detail": str(error)}})
                return
            status = await self._ask(box, use)
            told = status // 100 == 2
            fields = {"box": box, "status": status, "new": use.new}
            log.info("notified" if told else "not-notified", extra={"fields": fields})
            if not told and box not in self._due:
                if not use.new:
                    return
                await asyncio.sleep(self._settings.again_s)

    async def _ask(self, box: str, use: BoxUse) -> int:
        """Send a NOTIFY until it is answered; return the status, 408 where it was not."""
        branch, call_id = f"z9hG4bK{secrets.token_hex(8)}", secrets.token_hex(12)
        request = notify_request(
            box, use, identity=self._settings.identity, address=self._address, call_id=call_id, branch=branch
        ).encode()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with self._room:
            self._answers[branch] = answer
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await self._until_answered(request, answer)
            except TimeoutError:
                return 408
            finally:
                del self._answers[branch]

    async def _until_answered(self, request: bytes, answer: asyncio.Future[int]) -> int:
        wait_s = T1_S
        while True:
            assert self._transport is not None
            self._transport.sendto(request)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    return await asyncio.shield(answer)
            wait_s = min(2 * wait_s, T2_S)

    # asyncio's side

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        with suppress(SipMalformed):
            message = SipMessage.parse(data)
            via = message.top_via
            waiting = None if via is None else self._answers.get(via.branch)
            if waiting is not None and not waiting.done() and message.status >= 200:
                waiting.set_result(message.status)

    def error_received(self, exc: Exception) -> None:
        """Nothing listens at the proxy's port: it is asked again until the time is over."""
