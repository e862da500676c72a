"""One worker: listening sockets, the ASGI server over them, and the upkeep beside it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sipmikey.kms.server.admin import AdminApplication
from sipmikey.kms.server.app import HttpSettings, KmsApplication, Receive, Scope, Send
from sipmikey.kms.server.forward import Forwarder
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.protocol import ConnectionLimits, KmsHttpProtocol
from sipmikey.kms.server.rate_limit import RateLimiter
from sipmikey.kms.server.tls import ServerTls
from sipmikey.kms.service import StoreUnavailable
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError

MAINTENANCE_S = 60.0
READINESS_S = 2.0
TLS_HANDSHAKE_S = 10.0


class PlainHttpRefused(LocalError):
    """HTTP without TLS was to be served beyond this machine."""


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


class _Server(uvicorn.Server):
    """uvicorn's server on our sockets, with our protocol, a bounded TLS handshake, and signals of our own."""

    def __init__(self, worker: Worker, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        worker = self._worker
        self.servers = []
        for listener in worker.public:
            self.servers.append(await self._listen(loop, listener, self.config, worker.tls))
        if worker.admin is not None:
            admin = _config(AdminApplication(worker.metrics), worker.settings)
            self.servers.append(await self._listen(loop, worker.admin, admin, None))
        self.started = True
        worker.started()

    async def _listen(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        config: uvicorn.Config,
        tls: ServerTls | None,
    ) -> asyncio.Server:
        def connection() -> asyncio.Protocol:
            return KmsHttpProtocol(
                config=config,
                server_state=self.server_state,
                limits=self._worker.settings.connections,
                rejected=self._worker.metrics.rejected,
            )

        return await loop.create_server(
            connection,
            sock=listener,
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_S,
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._worker.stop,
            signal.SIGINT: self._worker.stop,
            signal.SIGHUP: self._worker.reload,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def _config(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: WorkerSettings
) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.connections.idle_s,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    config.load()
    return config


class Worker:
    """Serves until it is told to stop (SIGTERM, SIGINT); SIGHUP reloads certificate and policy.

    ``store`` is open; ``forwarder`` is the service over it. ``public`` and ``admin`` are listening sockets
    (`bind`). ``reload_policy`` puts the present policy into force, raising LocalError if it is not valid;
    with ``policy_in_store`` it is called all the time. ``on_start`` is called when connections are accepted.
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
        reload_policy: Callable[[], Awaitable[None]],
        policy_in_store: bool = False,
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
        self._policy_in_store = policy_in_store
        self._reloads: set[asyncio.Task[None]] = set()
        self._ready = True
        application: Any = KmsApplication(
            forwarder.handle,
            settings=settings.http,
            metrics=metrics,
            pending=lambda: len(self._server.server_state.tasks),
            ready=lambda: self._ready and not self._server.should_exit,
            by_address=by_address,
        )
        if settings.trusted_proxies:
            application = ProxyHeadersMiddleware(application, trusted_hosts=list(settings.trusted_proxies))
        self._server = _Server(self, _config(application, settings))

    async def serve(self) -> None:
        """Serve, keep the store tidy, and finish the requests in flight before returning."""
        async with _beside(self._watch_readiness, self._maintain):
            await self._server.serve()
        await self._forwarder.close()

    def stop(self) -> None:
        """Accept no more connections, finish the requests in flight, and return from `serve`."""
        self._server.should_exit = True

    def reload(self) -> None:
        """Read certificate and policy again; what is not valid is logged and the old stays in force."""
        task = asyncio.ensure_future(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        for what, action in (("certificate", self._reload_tls), ("policy", self._reload_policy)):
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

    async def _watch_readiness(self) -> None:
        """Ask the store now and then, so that the readiness page costs nothing and is seconds old at most."""
        while True:
            try:
                async with asyncio.timeout(self.settings.http.handle_s):
                    await self._store.ping()
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
            self.metrics.connections.set(len(self._server.server_state.connections))
            await asyncio.sleep(READINESS_S)

    async def _maintain(self) -> None:
        """Once a minute: forget what has expired, and take up a renewed certificate."""
        if self.tls is not None:
            self.metrics.certificate_expiry.set(self.tls.expires_at())
        while True:
            await asyncio.sleep(MAINTENANCE_S)
            try:
                await self._store.maintain()
                if self.tls is not None and self.tls.changed():
                    await self._reload_tls()
                    log.info("reloaded", extra={"fields": {"what": "certificate"}})
            except (StoreUnavailable, LocalError) as error:
                log.error("maintenance-failed", extra={"fields": {"detail": str(error)}})


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


def run_worker(main: Coroutine[Any, Any, int]) -> int:
    """Run the coroutine *main* on uvloop and return its exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
