"""`sipmikey messages`: list, play, fetch and delete messages left for us."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, table
from sipmikey.cli.messages.setup import failures_told, own_box, own_mailbox
from sipmikey.cli.messages.shown import document_of, line_of
from sipmikey.cli.output import Output
from sipmikey.cli.parser import add_verb
from sipmikey.mailbox.client import MailboxClient
from sipmikey.mailbox.store import KeptMessage
from sipmikey.settings import ConfigurationError

if TYPE_CHECKING:
    from sipmikey.cli.messages.hearing import Hearing

EXAMPLES = """\
  sipmikey messages list --config bob.toml
  sipmikey messages play --config bob.toml                       all that were not heard
  sipmikey messages play --config bob.toml 5f0c --record heard.wav
  sipmikey messages fetch --config bob.toml 5f0c sealed.deposit  as it is kept, not opened
  sipmikey messages play --config bob.toml --file sealed.deposit
  sipmikey messages delete --config bob.toml 5f0c
  sipmikey messages play --config bob.toml --box sip:talk@example.com    left for a group

A message is named by the first characters of its name. The mailbox tells whom a message says it is from;
the KMS tells who it is from, when it is played.
"""

Body = Callable[[argparse.Namespace, LoadedConfiguration, Output], Coroutine[Any, Any, int]]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `messages` and its actions."""
    parser = subparsers.add_parser(
        "messages",
        help="list, play, keep and delete messages left for us",
        description="List, play, keep and delete messages that were left for us at a mailbox.",
        epilog=f"examples:\n{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="messages_action", metavar="ACTION", required=True)
    _action(actions, "list", "list the messages in our box", _list)
    play = _action(actions, "play", "open messages and hear them, or write them with --record", _play)
    play.add_argument("names", nargs="*", metavar="NAME", help="which (all that were not heard)")
    play.add_argument("--file", type=Path, metavar="FILE", help="one that was fetched before")
    play.add_argument("--delete", action="store_true", help="delete each when it was heard")
    fetch = _action(actions, "fetch", "write a message to a file as it is kept, not opened", _fetch)
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("into", type=Path, metavar="FILE")
    delete = _action(actions, "delete", "delete messages at the mailbox", _delete)
    delete.add_argument("names", nargs="+", metavar="NAME")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help: str, body: Body
) -> argparse.ArgumentParser:
    parser = add_verb(actions, name, help=help, examples=EXAMPLES)
    parser.add_argument("--json", action="store_true", help="one JSON document a line instead of text")
    parser.add_argument("--box", metavar="URI", help="the box of a group that we are in (mailbox.boxes)")
    add_options(parser)
    parser.set_defaults(messages_run=body)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the action and return its exit code."""
    loaded = load_from(args)
    body: Body = args.messages_run
    with failures_told():
        return asyncio.run(body(args, loaded, Output(as_json=args.json)))


async def _list(args: argparse.Namespace, loaded: LoadedConfiguration, out: Output) -> int:
    box = own_box(loaded.configuration, args.box)
    now = time.time()
    found = await own_mailbox(loaded.configuration, args.box).messages(box)
    for message in found:
        out.document(document_of(message, "message.listed", now))
        out.text(line_of(message, now))
    if not found:
        out.text("no messages")
    return ExitCode.OK


async def _fetch(args: argparse.Namespace, loaded: LoadedConfiguration, out: Output) -> int:
    box = own_box(loaded.configuration, args.box)
    mailbox = own_mailbox(loaded.configuration, args.box)
    (message,) = _named(await mailbox.messages(box), [args.name])
    octets = await mailbox.fetch(box, message.name)
    try:
        args.into.write_bytes(octets)
    except OSError as error:
        raise ConfigurationError(f"{args.into}: {error.strerror}") from None
    out.document(document_of(message, "message.fetched", time.time()) | {"file": args.into})
    out.text(f"{message.name}: {len(octets)} octets in {args.into}, not opened")
    return ExitCode.OK


async def _delete(args: argparse.Namespace, loaded: LoadedConfiguration, out: Output) -> int:
    box = own_box(loaded.configuration, args.box)
    mailbox = own_mailbox(loaded.configuration, args.box)
    for message in _named(await mailbox.messages(box), args.names):
        await mailbox.delete(box, message.name)
        out.document(document_of(message, "message.deleted", time.time()))
        out.text(f"{message.name} deleted")
    return ExitCode.OK


async def _play(args: argparse.Namespace, loaded: LoadedConfiguration, out: Output) -> int:
    # Loaded late: what opens messages takes SRTP in Python, which a list does without.
    from sipmikey.cli.messages.hearing import Hearing

    hearing = Hearing(loaded, out)
    if args.file is not None:
        if args.names:
            raise ConfigurationError("name messages of the mailbox, or a --file, not both")
        await hearing.of_file(args.file)
        return ExitCode.OK
    box = own_box(loaded.configuration, args.box)
    mailbox = own_mailbox(loaded.configuration, args.box)
    listed = await mailbox.messages(box)
    chosen = _named(listed, args.names) if args.names else [one for one in listed if not one.heard]
    if not chosen:
        out.text("no message that was not heard")
    hearing.check_place(len(chosen))
    return await _play_each(hearing, mailbox, box, chosen, delete=args.delete)


async def _play_each(
    hearing: Hearing, mailbox: MailboxClient, box: str, chosen: Sequence[KeptMessage], *, delete: bool
) -> int:
    """Play all of *chosen*; one that cannot be opened does not stop the others."""
    failure: CommandFailed | None = None
    for message in chosen:
        octets = await mailbox.fetch(box, message.name)
        try:
            await hearing.of_message(message.name, octets, several=len(chosen) > 1)
        except CommandFailed as error:
            failure = failure or error
            hearing.tell_failure(message.name, error)
            continue
        if delete:
            await mailbox.delete(box, message.name)
        elif not message.heard:
            await mailbox.mark_heard(box, message.name)
    if failure is not None:
        raise failure
    return ExitCode.OK


def _named(listed: Sequence[KeptMessage], names: Sequence[str]) -> list[KeptMessage]:
    """Return the messages whose names begin with one of *names*. Raises ``ConfigurationError``."""
    found: list[KeptMessage] = []
    for name in names:
        fitting = [message for message in listed if message.name.startswith(name.lower())]
        if len(fitting) != 1:
            why = "fits several" if fitting else "is not there"
            raise ConfigurationError(f"message {name} {why}: `sipmikey messages list` shows all")
        found += [message for message in fitting if message not in found]
    return found
