"""One worker: listening sockets, the connections over them, and the upkeep beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop

from sipmikey.kms.server.admin import AdminApplication
from sipmikey.kms.server.app import HttpSettings, KmsApplication
from sipmikey.kms.server.forward import Forwarder
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.pages import Pages
from sipmikey.kms.server.protocol import Application, ConnectionLimits, Connections, HttpConnection
from sipmikey.kms.server.proxy import TrustedProxies
from sipmikey.kms.server.ticket_key import TicketKeyWatch
from sipmikey.kms.server.tls import ServerTls
from sipmikey.kms.service import StoreUnavailable
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter

MAINTENANCE_S = 60.0
READINESS_S = 2.0
TLS_HANDSHAKE_S = 10.0
FINISH_STEP_S = 0.02
CONSOLE_CONNECTIONS = 256
GC_THRESHOLD = 10_000
"""Objects made before the collector looks at the young ones: a request makes about a thousand."""


class PlainHttpRefused(LocalError):
    """HTTP without TLS was to be served beyond this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An application on an address of its own, beside what the KMS serves."""

    application: Application
    socket: socket.socket
    tls: ServerTls


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker serves. ``trusted_proxies``: addresses whose X-Forwarded-For is believed.

    ``shutdown_s``: seconds requests in flight have to finish once the worker is told to stop.
    """

    http: HttpSettings = field(default_factory=HttpSettings)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    trusted_proxies: tuple[str, ...] = ()
    shutdown_s: int = 15


def bind(address: str, *, tls: bool, plain_anywhere: bool = False, backlog: int = 2048) -> socket.socket:
    """Return a listening socket for ``host:port`` (``[v6]:port``); port 0 takes any free one.

    Raises LocalError for a malformed or unusable address, and `PlainHttpRefused` for HTTP without TLS beyond
    loopback unless *plain_anywhere* is set.
    """
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise LocalError(f"a listening address is host:port, not {address!r}")
    try:
        parsed = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise LocalError(f"listen on an IP address, not on the name {host!r}") from None
    if not tls and not parsed.is_loopback and not plain_anywhere:
        raise PlainHttpRefused(
            f"{address} is not a loopback address and no TLS certificate is given: who calls whom would be "
            "readable on the way"
        )
    family = socket.AF_INET6 if parsed.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(parsed), int(port)))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise LocalError(f"cannot listen on {address}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


class Worker:
    """Serves until it is told to stop (SIGTERM, SIGINT); SIGHUP reloads certificate and policy.

    ``store`` is open; ``forwarder`` is the service over it; ``pages`` are served beside it.
    ``public`` and ``admin`` are listening sockets (`bind`). ``reload_policy`` puts the present policy into
    force, raising LocalError if it is not valid; with ``policy_in_store`` it is called all the time.
    ``reload_profile`` does so with the profile of devices. ``on_start`` is called when connections are
    accepted. ``console``: the administrators' own address. ``traced`` puts spans around answers.
    """

    def __init__(
        self,
        store: Store,
        forwarder: Forwarder,
        *,
        public: Sequence[socket.socket],
        admin: socket.socket | None = None,
        tls: ServerTls | None = None,
        settings: WorkerSettings,
        metrics: Metrics,
        by_address: RateLimiter | None = None,
        pages: Sequence[Pages] = (),
        reload_policy: Callable[[], Awaitable[None]],
        reload_profile: Callable[[], Awaitable[None]] | None = None,
        policy_in_store: bool = False,
        console: Listener | None = None,
        traced: Callable[[Application], Application] = lambda application: application,
        on_start: Callable[[], None],
    ) -> None:
        self.public = public
        self.admin = admin
        self.tls = tls
        self.settings = settings
        self.metrics = metrics
        self.started = on_start
        self._store = store
        self._forwarder = forwarder
        self._reload_policy = reload_policy
        self._reload_profile = reload_profile
        self._policy_in_store = policy_in_store
        self._reloads: set[asyncio.Task[None]] = set()
        self._ready = True
        self._ticket_key = TicketKeyWatch(store.ticket_keys, metrics)
        self._stopping = asyncio.Event()
        self._connections = Connections()
        self._console = console
        self._console_connections = Connections()
        self._proxies = TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None
        self._application = traced(
            KmsApplication(
                forwarder.handle,
                settings=settings.http,
                metrics=metrics,
                pending=lambda: self._connections.pending,
                ready=lambda: self._ready and not self._stopping.is_set(),
                by_address=by_address,
                pages=pages,
            )
        )

    async def serve(self) -> None:
        """Serve, keep the store tidy, and finish the requests in flight before returning."""
        self._take_signals()
        async with _beside(self._watch_readiness, self._maintain):
            servers = [await self._listen(self._application, at, self.tls) for at in self.public]
            if self.admin is not None:
                servers.append(await self._listen(AdminApplication(self.metrics), self.admin, None))
            if self._console is not None:
                servers.append(await self._listen_console(self._console))
            _settle_memory()
            self.started()
            log.info("started", extra={"fields": {"listen": [_address(at) for at in self.public]}})
            await self._stopping.wait()
            log.info("stopping", extra={"fields": {"connections": len(self._connections.open)}})
            for server in servers:
                server.close()
            await self._finish()
        await self._forwarder.close()
        log.info("stopped")

    def stop(self) -> None:
        """Accept no more connections, finish the requests in flight, and return from `serve`."""
        self._stopping.set()

    async def _finish(self) -> None:
        """Let the requests in flight end, for `WorkerSettings.shutdown_s` seconds at most."""
        self._connections.stop()
        self._console_connections.stop()
        give_up = time.monotonic() + self.settings.shutdown_s
        while self._connections.open and time.monotonic() < give_up:
            await asyncio.sleep(FINISH_STEP_S)
        if self._connections.open:
            log.error("connections-cut", extra={"fields": {"count": len(self._connections.open)}})

    async def _listen(
        self, application: Application, listener: socket.socket, tls: ServerTls | None
    ) -> asyncio.Server:
        def connection() -> asyncio.Protocol:
            return HttpConnection(
                application,
                self._connections,
                limits=self.settings.connections,
                metrics=self.metrics,
                proxies=self._proxies,
            )

        return await asyncio.get_running_loop().create_server(
            connection,
            sock=listener,
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_S,
        )

    async def _listen_console(self, console: Listener) -> asyncio.Server:
        """Serve the console. Its connections are counted apart: neither side crowds out the other."""

        def connection() -> asyncio.Protocol:
            return HttpConnection(
                console.application,
                self._console_connections,
                limits=ConnectionLimits(connections=CONSOLE_CONNECTIONS),
                metrics=self.metrics,
            )

        return await asyncio.get_running_loop().create_server(
            connection, sock=console.socket, ssl=console.tls.context, ssl_handshake_timeout=TLS_HANDSHAKE_S
        )

    def _take_signals(self) -> None:
        """Take signals until the loop is closed: a second SIGTERM must not cut the end short."""
        loop = asyncio.get_running_loop()
        for number, handler in (
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGHUP, self.reload),
        ):
            loop.add_signal_handler(number, handler)

    def reload(self) -> None:
        """Read certificate and policy again; what is not valid is logged and the old stays in force."""
        task = asyncio.ensure_future(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        actions = [("certificate", self._reload_tls), ("policy", self._reload_policy)]
        if self._reload_profile is not None:
            actions.append(("profile", self._reload_profile))
        for what, action in actions:
            try:
                await action()
            except (LocalError, StoreUnavailable) as error:
                log.error("reload-failed", extra={"fields": {"what": what, "detail": str(error)}})
            else:
                log.info("reloaded", extra={"fields": {"what": what}})

    async def _reload_tls(self) -> None:
        if self.tls is not None:
            self.tls.reload()
            self.metrics.certificate_expiry.set(self.tls.expires_at())
        if self._console is not None:
            self._console.tls.reload()

    async def _watch_readiness(self) -> None:
        """Ask the store now and then, so that the readiness page costs nothing and is seconds old at most."""
        while True:
            try:
                async with asyncio.timeout(self.settings.http.handle_s):
                    await self._store.ping()
                    await self._store.master_key.refresh()
                    if self._policy_in_store:
                        await self._reload_policy()
            except LocalError as error:
                log.error("reload-failed", extra={"fields": {"what": "policy", "detail": str(error)}})
            except (StoreUnavailable, TimeoutError) as error:
                if self._ready:
                    log.error("store-unavailable", extra={"fields": {"detail": str(error)}})
                self._ready = False
            else:
                if not self._ready:
                    log.info("store-available")
                self._ready = True
            self.metrics.ready.set(1 if self._ready else 0)
            self.metrics.connections.set(len(self._connections.open))
            await asyncio.sleep(READINESS_S)

    async def _maintain(self) -> None:
        """Once a minute: forget what has expired, and take up a renewed certificate."""
        if self.tls is not None:
            self.metrics.certificate_expiry.set(self.tls.expires_at())
        while True:
            try:
                await self._ticket_key.look(now_s=int(time.time()))
            except (StoreUnavailable, LocalError) as error:
                log.error("maintenance-failed", extra={"fields": {"detail": str(error)}})
            await asyncio.sleep(MAINTENANCE_S)
            try:
                await self._store.maintain()
                if self.tls is not None and self.tls.changed():
                    await self._reload_tls()
                    log.info("reloaded", extra={"fields": {"what": "certificate"}})
                if self._console is not None and self._console.tls.changed():
                    self._console.tls.reload()
                    log.info("reloaded", extra={"fields": {"what": "console certificate"}})
            except (StoreUnavailable, LocalError) as error:
                log.error("maintenance-failed", extra={"fields": {"detail": str(error)}})


def _address(listener: socket.socket) -> str:
    return "{}:{}".format(*listener.getsockname()[:2])


@contextlib.asynccontextmanager
async def _beside(*duties: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run *duties* while the block runs. One that ends with an error of its own is logged, not hidden."""

    async def watched(duty: Callable[[], Awaitable[None]]) -> None:
        try:
            await duty()
        except Exception:  # noqa: BLE001 - upkeep must not end the service
            log.exception("upkeep-failed")

    tasks = [asyncio.ensure_future(watched(duty)) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _settle_memory() -> None:
    """Spare the garbage collector what lives as long as the worker does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def run_worker(main: Coroutine[Any, Any, int]) -> int:
    """Run the coroutine *main* on uvloop and return its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(main)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is left is the exit
    return code
