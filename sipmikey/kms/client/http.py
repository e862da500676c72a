"""The client of a KMS for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from sipmikey.kms.client.connection import Connection, ConnectionBroke
from sipmikey.kms.client.exchange import Answer, KmsUrl, encoded, request_octets
from sipmikey.kms.client.outcome import answered, failure_of
from sipmikey.kms.client.sites import Sites
from sipmikey.kms.client.tls import ClientTls
from sipmikey.network_errors import NETWORK_ERRORS

IDLE_CONNECTION_S: Final = 20.0
"""Shorter than any server's keep-alive time in use, so that we close first."""

CONNECTIONS: Final = 64
"""Requests to one KMS at the same time; others wait."""

HAPPY_EYEBALLS_S: Final = 0.25


class HttpKmsClient:
    """Sends MIKEY messages to one or several KMSs and returns their answers.

    ``url``: base URL of the KMS to ask when none is named. ``by_identity``: base URLs of others by KMS
    identity as it is written in IDRkms (``"sip:kms@example.org"``). A URL is ``https://host[:port][/path]``;
    plain ``http`` is accepted for loopback addresses only unless *allow_plain_http* is set.
    ``timeout_s``: seconds for the whole exchange; ``connect_timeout_s``: of these, for the connection.
    ``encoding``: ``"raw"`` or ``"base64"`` bodies. Raises LocalError for arguments that cannot be used.

    Connections are kept alive and shared; the object belongs to the event loop that first uses it and is
    closed with ``close()`` or ``async with``.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        by_identity: Mapping[str, str] | None = None,
        tls: ClientTls | None = None,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 3.0,
        encoding: str = "raw",
        allow_plain_http: bool = False,
    ) -> None:
        self._sites = Sites.of(url, by_identity, encoding=encoding, allow_plain_http=allow_plain_http)
        self._encoding = encoding
        self._ssl = (tls or ClientTls()).context() if self._sites.need_tls else None
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._kept: dict[KmsUrl, list[Connection]] = {}
        self._places: dict[KmsUrl, asyncio.Semaphore] = {}

    async def __aenter__(self) -> HttpKmsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The next request opens new ones."""
        kept, self._kept, self._places = self._kept, {}, {}
        for connections in kept.values():
            for connection in connections:
                connection.close()

    async def request(
        self, message: bytes, *, kms: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a REQUEST_INIT or RESOLVE_INIT and return the KMS's answer, not yet verified.

        ``kms`` is the identity of the KMS to ask; None asks the one given by ``url``. ``headers`` are sent
        beside ours. Where a connection that was kept turns out to be closed, the message is sent again. If
        the KMS may have taken it, the error says so (``ask_again``): make a fresh one.

        Raises LocalError for another kind of message or a KMS with no URL, KmsUnreachable, KmsTimeout,
        KmsBusy, KmsRefused, KmsBadAnswer.
        """
        url = self._sites.find(kms)
        octets = request_octets(url, message, encoded(message, self._encoding), headers)
        places = self._places.setdefault(url, asyncio.Semaphore(CONNECTIONS))
        try:
            async with asyncio.timeout(self._timeout_s), places:
                answer, repeated = await self._exchange(url, octets)
        except NETWORK_ERRORS as error:
            taken = isinstance(error, ConnectionBroke)
            raise failure_of(error, url, self._timeout_s, taken=taken) from None
        return answered(answer, repeated=repeated, now_s=time.time())

    async def _exchange(self, url: KmsUrl, octets: bytes) -> tuple[Answer, bool]:
        """Return the answer, and whether the request was sent twice for it."""
        try:
            return await self._once(url, octets), False
        except ConnectionBroke as error:
            if not error.kept:
                raise
            return await self._once(url, octets), True

    async def _once(self, url: KmsUrl, octets: bytes) -> Answer:
        connection = self._idle(url) or await self._connect(url)
        answer = await connection.exchange(octets)
        if connection.usable:
            connection.keep(IDLE_CONNECTION_S)
            self._kept.setdefault(url, []).append(connection)
        return answer

    def _idle(self, url: KmsUrl) -> Connection | None:
        kept = self._kept.get(url, [])
        while kept:
            connection = kept.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self, url: KmsUrl) -> Connection:
        loop = asyncio.get_running_loop()
        # The loop of uvloop, on which a KMS asks another, does not know this argument.
        more: dict[str, Any] = {}
        if isinstance(loop, asyncio.BaseEventLoop):
            more["happy_eyeballs_delay"] = HAPPY_EYEBALLS_S
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    Connection, url.host, url.port, ssl=self._ssl if url.tls else None, **more
                )
        except TimeoutError:
            raise TimeoutError(f"no connection within {self._connect_timeout_s} s") from None
        return connection
