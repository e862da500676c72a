"""Serving a mailbox: its sockets, its upkeep, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sipmikey.kms.server.protocol import ConnectionLimits, Connections, HttpConnection
from sipmikey.kms.server.proxy import TrustedProxies
from sipmikey.kms.server.tls import ServerTls
from sipmikey.mailbox.app import REASON_HEADER, MailboxApplication
from sipmikey.mailbox.mailbox import Mailbox
from sipmikey.mailbox.notify import Notifier, NotifySettings
from sipmikey.mailbox.refusals import StoreFailed
from sipmikey.mailbox.settings import MailboxSettings
from sipmikey.mailbox.store import MailboxStore
from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter

PRUNE_S = 60.0
TLS_HANDSHAKE_S = 10.0
FINISH_STEP_S = 0.02

log = logging.getLogger("sipmikey.mailbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Rates are of one source address. ``notify`` None: nobody is told.

    ``shutdown_s``: seconds requests in flight have to finish once the server is told to stop.
    """

    mailbox: MailboxSettings = field(default_factory=MailboxSettings)
    connections: ConnectionLimits = field(
        default_factory=lambda: ConnectionLimits(request_s=30.0, connections=128, idle_s=30)
    )
    trusted_proxies: tuple[str, ...] = ()
    requests_per_second: float = 20.0
    deposits_per_minute: float = 6.0
    notify: NotifySettings | None = None
    shutdown_s: int = 10


class MailboxServer:
    """Serves *store* on the listening sockets *public* until SIGTERM, SIGINT or `stop`.

    SIGHUP reads the certificate again. *on_start* is called when connections are accepted.
    """

    def __init__(
        self,
        store: MailboxStore,
        settings: ServerSettings,
        *,
        public: Sequence[socket.socket],
        tls: ServerTls | None = None,
        on_start: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._public = public
        self._tls = tls
        self._started = on_start
        self._store = store
        self._stopping = asyncio.Event()
        self._connections = Connections()
        self._rejections = _Rejections()
        self._notifier = None if settings.notify is None else Notifier(settings.notify, store.use)
        self.mailbox = Mailbox(
            store, settings.mailbox, now=time.time, random=secrets.token_bytes, changed=self._changed
        )
        self._application = MailboxApplication(
            self.mailbox,
            requests=_limiter(settings.requests_per_second, burst_s=3),
            deposits=_limiter(settings.deposits_per_minute / 60, burst_s=120),
            failures=_limiter(0.2, burst_s=50),
        )
        self._limits = settings.connections
        if settings.trusted_proxies:  # all connections come from them
            self._limits = replace(self._limits, of_one_source=0)
        self._proxies = TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None

    def stop(self) -> None:
        """Accept no more connections, finish the requests in flight, and return from `serve`."""
        self._stopping.set()

    async def serve(self) -> None:
        """Serve. Raises `LocalError` where the proxy for NOTIFY has no address."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        if self._notifier is not None:
            await self._notifier.open()
            for box in self._store.boxes():
                if self._store.use(box).new:
                    self._notifier.changed(box)
        upkeep = asyncio.create_task(self._keep_up())
        servers = [await self._listen(listener) for listener in self._public]
        self._started()
        await self._stopping.wait()
        for server in servers:
            server.close()
        await self._finish()
        upkeep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upkeep
        if self._notifier is not None:
            await self._notifier.close()

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        def connection() -> asyncio.Protocol:
            return HttpConnection(
                self._application,
                self._connections,
                limits=self._limits,
                metrics=self._rejections,
                proxies=self._proxies,
                reason_header=REASON_HEADER.encode(),
            )

        tls = self._tls
        return await asyncio.get_running_loop().create_server(
            connection,
            sock=listener,
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_S,
        )

    async def _finish(self) -> None:
        self._connections.stop()
        give_up = time.monotonic() + self._settings.shutdown_s
        while self._connections.open and time.monotonic() < give_up:
            await asyncio.sleep(FINISH_STEP_S)

    async def _keep_up(self) -> None:
        """Delete what was kept long enough, and take up a renewed certificate."""
        while True:
            try:
                if boxes := self.mailbox.prune():
                    log.info("expired", extra={"fields": {"boxes": boxes}})
            except StoreFailed as error:
                log.error("store-failed", extra={"fields": {"detail": str(error)}})
            if self._tls is not None and self._tls.changed():
                self._reload()
            self._rejections.report()
            await asyncio.sleep(PRUNE_S)

    def _changed(self, box: str) -> None:
        if self._notifier is not None:
            self._notifier.changed(box)

    def _reload(self) -> None:
        if self._tls is None:
            return
        try:
            self._tls.reload()
        except LocalError as error:
            log.error("reload-failed", extra={"fields": {"what": "certificate", "detail": str(error)}})
        else:
            log.info("reloaded", extra={"fields": {"what": "certificate"}})


class _Rejections:
    """Counts requests that no application saw, and logs the counts now and then."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def rejected(self, reason: str) -> None:
        self._counts[reason] += 1

    def report(self) -> None:
        for reason, count in self._counts.items():
            log.info("rejected", extra={"fields": {"reason": reason, "count": count}})
        self._counts.clear()


def _limiter(per_second: float, *, burst_s: float) -> RateLimiter:
    """Return a limit that admits at once what comes to *burst_s* seconds."""
    return RateLimiter(per_second=per_second, burst=max(1, round(per_second * burst_s)), now=time.monotonic)
