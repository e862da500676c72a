"""`sipmikey mailbox`: set up, run and administer a server for messages that it cannot open."""

from __future__ import annotations

import argparse
import functools
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from sipmikey.cli.exit_codes import CommandFailed, ExitCode, table
from sipmikey.cli.kms.common import Actions, add_serving_options, create_private, write_private
from sipmikey.cli.mailbox.configuration import (
    CONFIG_NAME,
    DIRECTORY_VARIABLE,
    SECTIONS,
    MailboxSection,
    load,
    load_merged,
)
from sipmikey.cli.output import Output
from sipmikey.cli.parser import add_verb
from sipmikey.mailbox.mailbox import TOKEN_LENGTH, token_digest
from sipmikey.mailbox.refusals import StoreFailed
from sipmikey.mailbox.store import MailboxStore
from sipmikey.settings import ConfigurationError, as_document, as_toml, reference_table
from sipmikey.ticket.identity import canonical

EXAMPLES = """\
a mailbox in three commands:
  sipmikey mailbox init --mwi-proxy 192.0.2.7:5060
  sipmikey mailbox box add sip:bob@example.com --token-file bob.token
  sipmikey mailbox serve

The mailbox keeps what callers leave and gives it to who proves that a box is theirs. It has no key and cannot
open a message: docs/deferred.md.
"""

Run = Callable[[argparse.Namespace], int]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `mailbox` and its actions."""
    parser = subparsers.add_parser(
        "mailbox",
        help="set up and run a server that keeps messages it cannot open",
        description="Set up, run and administer a server that keeps messages it cannot open.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="mailbox_action", metavar="ACTION", required=True)
    _add_init(actions)
    _add_serve(actions)
    boxes = actions.add_parser("box", help="whose messages are kept: add, list, remove")
    verbs = boxes.add_subparsers(dest="mailbox_verb", metavar="VERB", required=True)
    _add_boxes(verbs)
    config = actions.add_parser("config", help=f"show {CONFIG_NAME} with defaults, and what can be set in it")
    verbs = config.add_subparsers(dest="mailbox_verb", metavar="VERB", required=True)
    _action(
        verbs, "show", "print every setting, its value and where it came from", _show,
        "  sipmikey mailbox config show\n",
    )  # fmt: skip
    reference_parser = verbs.add_parser("reference", help="print what can be set, as Markdown")
    reference_parser.set_defaults(mailbox_run=lambda _: print(reference()) or ExitCode.OK)


def run(args: argparse.Namespace) -> int:
    """Run the action and return its exit code."""
    try:
        code: int = args.mailbox_run(args)
    except StoreFailed as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE, reason="store-failed") from None
    return code


def reference() -> str:
    """Return every setting as a row of a Markdown table. docs/deferred.md holds it."""
    return reference_table(SECTIONS, options=False)


def _action(
    actions: Actions[argparse.ArgumentParser], name: str, help: str, run: Run, examples: str
) -> argparse.ArgumentParser:
    parser = add_verb(actions, name, help=help, examples=examples)
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(os.environ.get(DIRECTORY_VARIABLE) or "mailbox"),
        metavar="DIR",
        help=f"the directory with its {CONFIG_NAME} (default: ${DIRECTORY_VARIABLE}, or ./mailbox)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document a line instead of text")
    parser.set_defaults(mailbox_run=run)
    return parser


def _add_init(actions: Actions[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions, "init", "make a new mailbox: its configuration and its store", _init,
        "  sipmikey mailbox init\n"
        "  sipmikey mailbox init --dir /etc/sipmikey-mailbox --listen 0.0.0.0:8444 \\\n"
        "      --tls-cert mailbox.pem --tls-key mailbox.key --mwi-proxy 192.0.2.7:5060\n",
    )  # fmt: skip
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help=f"address to serve on, repeatable (default: {MailboxSection().listen[0]})",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="server certificate with its chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--mwi-proxy", metavar="HOST:PORT", help="SIP proxy by which users are told that messages wait"
    )


def _add_serve(actions: Actions[argparse.ArgumentParser]) -> None:
    parser = _action(
        actions, "serve", "serve the mailbox over HTTP", _serve,
        "  sipmikey mailbox serve\n"
        "  sipmikey mailbox serve --listen 0.0.0.0:8444 --tls-cert mailbox.pem --tls-key mailbox.key\n\n"
        "Options override mailbox.toml. Logs are JSON lines on standard error, without content.\n\n"
        "signals:\n"
        "  SIGTERM, SIGINT   finish the requests in flight and end\n"
        "  SIGHUP            read the certificate again\n",
    )  # fmt: skip
    parser.add_argument(
        "--listen", action="append", metavar="HOST:PORT", help="address, repeatable; port 0: any"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="server certificate, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument("--mwi-proxy", metavar="HOST:PORT", help="SIP proxy for NOTIFY requests")
    add_serving_options(parser)


def _add_boxes(verbs: Actions[argparse.ArgumentParser]) -> None:
    add = _action(
        verbs, "add", "give somebody a box, or another token for it", _add_box,
        "  sipmikey mailbox box add sip:bob@example.com --token-file bob.token\n"
        "  sipmikey mailbox box add sip:bob@example.com --no-token      # a client certificate opens it\n",
    )  # fmt: skip
    add.add_argument("uri", metavar="URI", help="the owner's SIP identity")
    how = add.add_mutually_exclusive_group()
    how.add_argument("--token-file", type=Path, metavar="FILE", help="write the token there, do not show it")
    how.add_argument("--no-token", action="store_true", help="only a client certificate (TLS) opens the box")
    _action(
        verbs, "list", "list the boxes, and what is in them", _list_boxes, "  sipmikey mailbox box list\n"
    )
    remove = _action(
        verbs, "remove", "remove a box and the messages in it", _remove_box,
        "  sipmikey mailbox box remove sip:bob@example.com\n",
    )  # fmt: skip
    remove.add_argument("uri", metavar="URI", help="the owner's SIP identity")


def _serve(args: argparse.Namespace) -> int:
    # Loaded late: the server and its libraries would make every other command slow to start.
    from sipmikey.cli.mailbox.run import serve

    return serve(args)


def _init(args: argparse.Namespace) -> int:
    directory: Path = args.dir
    if (directory / CONFIG_NAME).exists():
        raise ConfigurationError(
            f"there is a mailbox in {directory} already; name another directory with --dir"
        )
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key go together")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(directory / CONFIG_NAME, _toml(args))
    try:
        configuration = load(directory)
        MailboxStore(configuration.mailbox.store, create=True).close()
    except BaseException:
        (directory / CONFIG_NAME).unlink()  # so that the same command can be given again
        raise
    out = Output(as_json=args.json)
    out.document({"type": "mailbox.init", "directory": directory, "listen": configuration.mailbox.listen})
    out.text(f"mailbox made in {directory}")
    out.text(f"next: sipmikey mailbox box add --dir {directory} sip:bob@example.com --token-file bob.token")
    return ExitCode.OK


def _toml(args: argparse.Namespace) -> str:
    """Return the text of `mailbox.toml`: what was asked for, all else by default."""
    quoted = functools.partial(json.dumps, ensure_ascii=False)
    listen = args.listen or list(MailboxSection().listen)
    lines = [
        "# `sipmikey mailbox config reference` says what can be set. Paths are relative to this file.",
        "[mailbox]",
        f"listen = {quoted(listen)}",
    ]
    if args.tls_cert is not None:
        lines += ["", "[tls]", f"certificate = {quoted(str(Path(args.tls_cert).resolve()))}"]
        lines += [f"private_key = {quoted(str(Path(args.tls_key).resolve()))}"]
    if args.mwi_proxy is not None:
        lines += ["", "[mwi]", f"proxy = {quoted(args.mwi_proxy)}"]
    return "\n".join(lines) + "\n"


def _add_box(args: argparse.Namespace) -> int:
    box = canonical(args.uri)
    store = MailboxStore(load(args.dir).mailbox.store)
    token = "" if args.no_token else secrets.token_hex(TOKEN_LENGTH)
    if args.token_file is not None:
        with create_private(args.token_file) as file:
            file.write(f"{token}\n")
    new = store.add_box(box, token_digest(token) if token else None, time.time())
    store.close()
    out = Output(as_json=args.json)
    shown = token if args.token_file is None and token else None
    out.document(
        {"type": "mailbox.box", "box": box, "new": new, "token": shown, "token_file": args.token_file}
    )
    out.text(f"{'new box' if new else 'another token for the box'} of {box}")
    if shown is not None:
        out.text(f"its token, shown only now: {shown}")
    return ExitCode.OK


def _list_boxes(args: argparse.Namespace) -> int:
    store = MailboxStore(load(args.dir).mailbox.store)
    out = Output(as_json=args.json)
    for box in store.boxes():
        use = store.use(box)
        out.document(
            {"type": "mailbox.box", "box": box, "new": use.new, "old": use.old, "octets": use.octets}
        )
        out.text(f"{box}  {use.new} new, {use.old} heard, {use.octets} octets")
    store.close()
    return ExitCode.OK


def _remove_box(args: argparse.Namespace) -> int:
    box = canonical(args.uri)
    store = MailboxStore(load(args.dir).mailbox.store)
    removed = store.remove_box(box)
    store.close()
    if not removed:
        raise ConfigurationError(f"{box} has no box here: `sipmikey mailbox box list` shows who has")
    out = Output(as_json=args.json)
    out.document({"type": "mailbox.box", "box": box, "removed": True})
    out.text(f"box of {box} removed, with its messages")
    return ExitCode.OK


def _show(args: argparse.Namespace) -> int:
    _, merged = load_merged(args.dir)
    out = Output(as_json=args.json)
    out.document({"type": "mailbox.config", "file": merged.path, "settings": as_document(merged)})
    out.text(as_toml(merged))
    return ExitCode.OK
