"""What `sipmikey kms serve` does: the KMS over HTTP, in one process or several."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import (
    drive,
    open_configured,
    output,
)
from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS, KmsConfiguration, load
from sipmikey.cli.kms.enrolment import device_authority, enrolment_settings, profile_of, serves_enrolment
from sipmikey.cli.kms.policy import current_policy
from sipmikey.cli.kms.serving.tracing import tracing_of
from sipmikey.cli.kms.wiring import (
    by_address,
    lookups,
    pages,
    peer_client,
    server_tls,
    settings,
    worker_settings,
)
from sipmikey.cli.output import Output
from sipmikey.cli.service import say_ready
from sipmikey.kms.server.forward import Forwarder
from sipmikey.kms.server.log import log, set_up
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.supervisor import READY_LINE, supervise
from sipmikey.kms.server.tls import ServerTls
from sipmikey.kms.server.worker import Listener, PlainHttpRefused, Worker, bind, run_worker
from sipmikey.kms.service import KeyManagementService
from sipmikey.kms.stores.store import Store
from sipmikey.settings import ConfigurationError
from sipmikey.system import environment

if TYPE_CHECKING:
    from sipmikey.kms.server.tracing import Tracing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """The listening sockets: of devices and phones, of metrics, of the console."""

    public: Sequence[socket.socket]
    admin: socket.socket | None
    console: socket.socket | None

    def all(self) -> list[socket.socket]:
        """Return those there are."""
        return [*self.public, *(other for other in (self.admin, self.console) if other is not None)]


def serve(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; return the exit code."""
    configuration = _overridden(load(args.dir), args)
    set_up(configuration.http.log_level, sys.stderr)
    tls = server_tls(configuration)
    if args.inherited is not None:
        public = [_inherited(int(number)) for number in args.inherited.split(",")]
        admin = None if args.inherited_metrics is None else _inherited(args.inherited_metrics)
        console = None if args.inherited_console is None else _inherited(args.inherited_console)
        sockets = Sockets(public=public, admin=admin, console=console)
        return _work(args, configuration, tls, sockets, Output(as_json=True), worker=True)
    if args.until_eof:
        threading.Thread(target=end_with_input, daemon=True).start()
    http = configuration.http
    public = [_bound(configuration, address, tls=tls is not None) for address in http.listen]
    admin = (
        bind(http.metrics_listen, tls=False, plain_anywhere=http.metrics_anywhere)
        if http.metrics_listen
        else None
    )
    console = bind(configuration.console.listen, tls=True) if configuration.console.listen else None
    sockets = Sockets(public=public, admin=admin, console=console)
    out = output(args)
    if http.workers <= 1:
        return _work(args, configuration, tls, sockets, out, worker=False)
    return supervise(
        _worker_command(args, sockets),
        sockets.all(),
        http.workers,
        on_start=lambda: _announce(out, configuration, sockets),
        kill_after_s=http.shutdown_s + 5.0,
    )


def end_with_input() -> None:
    """End this process as SIGTERM does when standard input ends."""
    # Not by sys.stdin: a thread that waits in it aborts the interpreter's own end.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _bound(configuration: KmsConfiguration, address: str, *, tls: bool) -> socket.socket:
    try:
        return bind(address, tls=tls, plain_anywhere=configuration.http.plain_http == PLAIN_HTTP_WORDS)
    except PlainHttpRefused as error:
        raise ConfigurationError(
            f'{error}. Give a certificate (--tls-cert, --tls-key), or say --plain-http "{PLAIN_HTTP_WORDS}"'
        ) from None


def _overridden(configuration: KmsConfiguration, args: argparse.Namespace) -> KmsConfiguration:
    """Return the configuration with the options put over it."""
    given = {
        "listen": None if args.listen is None else tuple(args.listen),
        "workers": args.workers,
        "metrics_listen": args.metrics,
        "log_level": args.log_level,
        "plain_http": args.plain_http,
    }
    http = dataclasses.replace(
        configuration.http, **{name: value for name, value in given.items() if value is not None}
    )
    if not 0 < http.workers <= 256:
        raise ConfigurationError(f"workers is from 1 to 256, not {http.workers}")
    if not http.listen:
        raise ConfigurationError("http.listen is empty: give at least one HOST:PORT")
    tls = configuration.tls
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key go together")
    if args.tls_cert is not None:
        tls = dataclasses.replace(tls, certificate=Path(args.tls_cert), private_key=Path(args.tls_key))
    return dataclasses.replace(configuration, http=http, tls=tls)


def _inherited(descriptor: int) -> socket.socket:
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    return listener


def _worker_command(args: argparse.Namespace, sockets: Sockets) -> list[str]:
    """Return the command line of a worker: ours, with the sockets that are bound already.

    The addresses go along: whether devices may enrol there is judged by them.
    """
    command = [sys.executable, "-m", "sipmikey.cli", "kms", "serve", "--dir", str(args.dir)]
    for address in args.listen or ():
        command += ["--listen", address]
    for option, value in (
        ("--plain-http", args.plain_http),
        ("--tls-cert", args.tls_cert),
        ("--tls-key", args.tls_key),
        ("--log-level", args.log_level),
    ):
        if value is not None:
            command += [option, str(value)]
    command += ["--inherited", ",".join(str(listener.fileno()) for listener in sockets.public)]
    if sockets.admin is not None:
        command += ["--inherited-metrics", str(sockets.admin.fileno())]
    if sockets.console is not None:
        command += ["--inherited-console", str(sockets.console.fileno())]
    return command


def _work(
    args: argparse.Namespace,
    configuration: KmsConfiguration,
    tls: ServerTls | None,
    sockets: Sockets,
    out: Output,
    *,
    worker: bool,
) -> int:
    """Serve in this process until a signal ends it."""

    def on_start() -> None:
        if worker:
            sys.stdout.buffer.write(READY_LINE)
            sys.stdout.buffer.flush()
        else:
            _announce(out, configuration, sockets)

    async def body(_: argparse.Namespace) -> int:
        tracing = tracing_of(configuration)
        store = await open_configured(configuration)
        try:
            serving = await _make_worker(
                configuration, store, sockets, tls=tls, tracing=tracing, on_start=on_start
            )
            if worker:
                _stop_with_supervisor(serving)
            await serving.serve()
        finally:
            await store.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
        return ExitCode.OK

    return drive(args, body, runner=run_worker)


async def _make_worker(
    configuration: KmsConfiguration,
    store: Store,
    sockets: Sockets,
    *,
    tls: ServerTls | None,
    tracing: Tracing | None,
    on_start: Callable[[], None],
) -> Worker:
    """Return the worker that the configuration describes, on *store*."""
    env = environment(clock_skew_s=configuration.kms.clock_skew_s)
    authority = device_authority(configuration)
    policy = await current_policy(configuration, store)
    service = KeyManagementService(
        env, settings(configuration, authority), policy, lookups(configuration, store)
    )
    metrics = Metrics()
    enrolment = None
    if serves_enrolment(configuration):
        enrolment = enrolment_settings(configuration, authority)
    elif configuration.enrolment.enabled:
        log.warning("enrolment-off", extra={"fields": {"detail": "it needs TLS beyond loopback"}})

    async def reload_policy() -> None:
        service.policy = await current_policy(configuration, store)

    async def reload_profile() -> None:
        if enrolment is not None:
            enrolment.profile = profile_of(configuration)

    return Worker(
        store,
        Forwarder(service, peer_client(configuration), metrics),
        public=sockets.public,
        admin=sockets.admin,
        tls=tls,
        settings=worker_settings(configuration),
        metrics=metrics,
        by_address=by_address(configuration),
        pages=pages(configuration, enrolment, env, store, metrics),
        reload_policy=reload_policy,
        reload_profile=None if enrolment is None else reload_profile,
        policy_in_store=configuration.policy.source == "store",
        console=_console(configuration, store, sockets.console),
        traced=tracing.traced if tracing is not None else lambda application: application,
        on_start=on_start,
    )


def _stop_with_supervisor(serving: Worker) -> None:
    """End when standard input does: the process that started this one has died."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(sys.stdin.fileno())
        serving.stop()

    loop.add_reader(sys.stdin.fileno(), ended)


def _console(
    configuration: KmsConfiguration, store: Store, listener: socket.socket | None
) -> Listener | None:
    """Return the console, None where none is served. Raises ConfigurationError."""
    if listener is None:
        return None
    try:
        from sipmikey.cli.kms.serving.console import console_listener
    except ImportError as error:
        raise ConfigurationError(f"the console needs {error.name}: pip install 'sipmikey[console]'") from None
    return console_listener(configuration, store, listener)


def _announce(out: Output, configuration: KmsConfiguration, sockets: Sockets) -> None:
    """Tell users and the service manager that the KMS serves; ports that were 0 have their numbers now."""
    scheme = "http" if configuration.tls.certificate is None else "https"
    urls = [f"{scheme}://{address_of(listener)}" for listener in sockets.public]
    metrics = None if sockets.admin is None else f"http://{address_of(sockets.admin)}/metrics"
    console = None if sockets.console is None else f"https://{address_of(sockets.console)}"
    out.document(
        {
            "type": "kms.ready",
            "identity": configuration.kms.identity,
            "urls": urls,
            "metrics": metrics,
            "console": console,
            "workers": configuration.http.workers,
        }
    )
    out.text(f"{configuration.kms.identity} serves {' '.join(urls)}")
    say_ready()
    if metrics is not None:
        out.text(f"metrics at {metrics}")
    if console is not None:
        out.text(f"console at {configuration.console.url or console}")


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
