"""What `sipmikey mailbox serve` does."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import threading

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS
from sipmikey.cli.kms.run import address_of, end_with_input
from sipmikey.cli.kms.wiring import server_tls_of
from sipmikey.cli.mailbox.configuration import MailboxConfiguration, load
from sipmikey.cli.output import Output
from sipmikey.kms.server.log import set_up
from sipmikey.kms.server.protocol import ConnectionLimits
from sipmikey.kms.server.worker import PlainHttpRefused, bind
from sipmikey.mailbox.notify import NotifySettings
from sipmikey.mailbox.server import MailboxServer, ServerSettings
from sipmikey.mailbox.settings import Depositors, MailboxSettings
from sipmikey.mailbox.store import MailboxStore
from sipmikey.settings import ConfigurationError
from sipmikey.settings import readers as read

_DAY_S = 86_400


def serve(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; return the exit code."""
    configuration = _overridden(load(args.dir), args)
    set_up(configuration.mailbox.log_level, sys.stderr)
    tls = server_tls_of(configuration.tls)
    if args.until_eof:
        threading.Thread(target=end_with_input, daemon=True).start()
    plain = configuration.mailbox.plain_http == PLAIN_HTTP_WORDS
    try:
        public = [
            bind(address, tls=tls is not None, plain_anywhere=plain)
            for address in configuration.mailbox.listen
        ]
    except PlainHttpRefused as error:
        raise ConfigurationError(
            f'{error}. Give a certificate (--tls-cert, --tls-key), or say --plain-http "{PLAIN_HTTP_WORDS}"'
        ) from None
    store = MailboxStore(configuration.mailbox.store)
    urls = [
        f"{'http' if tls is None else 'https'}://{address_of(listener)}{configuration.mailbox.path}"
        for listener in public
    ]

    def announce() -> None:
        out = Output(as_json=args.json)
        out.document({"type": "mailbox.ready", "urls": urls})
        out.text(f"mailbox serves {' '.join(urls)}")

    async def body() -> None:
        server = MailboxServer(store, _settings(configuration), public=public, tls=tls, on_start=announce)
        await server.serve()

    try:
        asyncio.run(body())
    finally:
        store.close()
    return ExitCode.OK


def _overridden(configuration: MailboxConfiguration, args: argparse.Namespace) -> MailboxConfiguration:
    """Return the configuration with the options put over it."""
    mailbox, tls, mwi = configuration.mailbox, configuration.tls, configuration.mwi
    if args.listen:
        mailbox = dataclasses.replace(mailbox, listen=tuple(args.listen))
    if args.plain_http is not None:
        mailbox = dataclasses.replace(mailbox, plain_http=args.plain_http)
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key go together")
    if args.tls_cert is not None:
        tls = dataclasses.replace(tls, certificate=args.tls_cert, private_key=args.tls_key)
    if args.mwi_proxy is not None:
        mwi = dataclasses.replace(mwi, proxy=args.mwi_proxy)
    return dataclasses.replace(configuration, mailbox=mailbox, tls=tls, mwi=mwi)


def _settings(configuration: MailboxConfiguration) -> ServerSettings:
    section = configuration.mailbox
    return ServerSettings(
        mailbox=MailboxSettings(
            path=section.path,
            depositors=Depositors(section.deposits),
            keep_s=section.keep_days * _DAY_S,
            message_bytes=section.message_bytes,
            box_messages=section.box_messages,
            box_bytes=section.box_bytes,
            source_messages=section.source_messages,
        ),
        connections=ConnectionLimits(
            request_s=section.request_s,
            connections=section.connections,
            of_one_source=max(1, section.connections // 4),
            idle_s=section.idle_s,
        ),
        trusted_proxies=section.trusted_proxies,
        requests_per_second=section.requests_per_second,
        deposits_per_minute=section.deposits_per_minute,
        notify=_notify(configuration),
        shutdown_s=section.shutdown_s,
    )


def _notify(configuration: MailboxConfiguration) -> NotifySettings | None:
    mwi = configuration.mwi
    if not mwi.proxy:
        return None
    try:
        host, _, port = read.endpoint(mwi.proxy).rpartition(":")
    except ValueError as error:
        raise ConfigurationError(f"mwi.proxy: {error}") from None
    return NotifySettings(proxy=(host.strip("[]"), int(port)), identity=mwi.identity, again_s=mwi.again)
