"""`sipmikey tickets`: the tickets that are kept for later calls."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from sipmikey.agent import AgentConfig, CallFailed, KeyManagement
from sipmikey.agent.tickets.file import TicketFile
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.agent.tickets.store import TicketStore, facts, policy_facts
from sipmikey.call.events import TicketFacts
from sipmikey.call.reasons import AgentError, reason_of
from sipmikey.cli.calls.session import add_session_options, open_session
from sipmikey.cli.calls.setup import agent_config, kms_client, ticket_file
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, for_end, table
from sipmikey.cli.output import Output, complain, timestamp
from sipmikey.cli.parser import add_verb
from sipmikey.mikey.errors import PeerError, TicketNotValid
from sipmikey.settings import ConfigurationError
from sipmikey.system import environment
from sipmikey.ticket.identity import canonical, same_identity

LIST = """\
  sipmikey tickets list --config alice.toml
  sipmikey tickets list --config alice.toml --json
"""

FETCH = """\
  sipmikey tickets fetch --config alice.toml sip:bob@example.com sip:carol@example.com
  sipmikey tickets fetch --config alice.toml            for everybody in tickets.contacts
  sipmikey tickets fetch --config alice.toml --fresh    even where a kept ticket is still good
  sipmikey tickets fetch --config alice.toml --push     and have the people called resolve them
"""

FORGET = """\
  sipmikey tickets forget --config alice.toml sip:bob@example.com
  sipmikey tickets forget --config alice.toml --all
"""

WITHOUT_FILE = "no tickets are kept: set tickets.keep = true in the configuration"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tickets` and what can be done with them."""
    parser = subparsers.add_parser(
        "tickets",
        help="list, fetch and forget the tickets that are kept for later calls",
        description="List, fetch and forget the tickets that are kept for later calls (tickets.keep).",
        epilog=f"examples:\n{LIST}{FETCH}{FORGET}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="tickets_verb", metavar="VERB", required=True)
    _verb(verbs, "list", "list the tickets that are kept; keys are never shown", LIST, _list)
    fetch = _verb(verbs, "fetch", "get tickets now, so that a call needs no KMS", FETCH, _fetch)
    fetch.add_argument("uri", nargs="*", help="whom to get a ticket for (by default tickets.contacts)")
    fetch.add_argument("--fresh", action="store_true", help="even where a kept ticket is still good")
    fetch.add_argument(
        "--push",
        action="store_true",
        help="send the tickets to those they are for, who resolve them now (tickets.keep_resolved there)",
    )
    add_session_options(fetch)
    forget = _verb(verbs, "forget", "drop tickets and their keys", FORGET, _forget)
    forget.add_argument("uri", nargs="*", help="whose: tickets to call with, and those of calls that came in")
    forget.add_argument("--all", action="store_true", help="all tickets of this identity")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help: str,
    examples: str,
    body: Callable[[argparse.Namespace, _TicketShelf], int],
) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, help=help, examples=examples)
    if name != "fetch":
        parser.add_argument("--json", action="store_true", help="one JSON document a line instead of text")
    parser.set_defaults(tickets_run=body)
    add_options(parser)
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class _TicketShelf:
    """The tickets of the identity that is configured."""

    loaded: LoadedConfiguration
    config: AgentConfig
    keys: KeyManagement
    file: TicketFile
    store: TicketStore
    output: Output


def run(args: argparse.Namespace) -> int:
    """Do what the verb says and return the exit code."""
    loaded = load_from(args)
    config = agent_config(loaded.configuration)
    file = ticket_file(loaded.configuration, config)
    if file is None or config.keys is None:
        raise ConfigurationError(WITHOUT_FILE)
    env = environment(clock_skew_s=round(config.keys.clock_skew_s))
    store = TicketStore(env, config.keys, canonical(config.identity), file.granted)
    output = Output(as_json=args.json)
    kept = _TicketShelf(loaded=loaded, config=config, keys=config.keys, file=file, store=store, output=output)
    code: int = args.tickets_run(args, kept)
    return code


def _list(args: argparse.Namespace, kept: _TicketShelf) -> int:
    shown = list(_usable(kept))
    for direction, peer, ticket in shown:
        _show(kept.output, "ticket.kept", direction, peer, ticket)
    if not shown:
        kept.output.text("no tickets are kept")
    return ExitCode.OK


def _usable(kept: _TicketShelf) -> Iterator[tuple[str, str, TicketFacts]]:
    """Yield direction, peer and facts of each ticket; one that is no longer usable is dropped."""
    for called, grant in kept.file.granted.all():
        if kept.store.usable(called, grant):
            yield "outgoing", called, facts(grant)
        else:
            kept.file.granted.drop(called)
    for ticket_id, resolved in kept.file.resolved.all():
        policy = resolved.resolved.policy
        try:
            policy.check_validity(time.time_ns())
        except TicketNotValid:
            kept.file.resolved.drop(ticket_id)
        else:
            yield "incoming", policy.initiator or "", policy_facts(ticket_id, policy)


def _show(output: Output, type: str, direction: str, peer: str, ticket: TicketFacts) -> None:
    reusable = "J" in ticket.flags
    output.document(
        {"ts": timestamp(time.time()), "type": type, "direction": direction, "peer": peer,
         "reusable": reusable, "ticket": asdict(ticket)}
    )  # fmt: skip
    words = f"to call {peer}" if direction == "outgoing" else f"for calls of {peer}"
    until = "no end" if ticket.valid_until is None else f"until {timestamp(ticket.valid_until)[:19]}Z"
    uses = "any number of calls" if reusable else "one call"
    output.text(f"{words:<40} {ticket.mode:<11} {uses:<20} {until}  ticket {ticket.ticket}")


def _fetch(args: argparse.Namespace, kept: _TicketShelf) -> int:
    wanted = args.uri or kept.loaded.configuration.tickets.contacts
    if not wanted:
        raise ConfigurationError("whose tickets? name URIs, or set tickets.contacts")
    return asyncio.run(_fetch_and_push([canonical(uri) for uri in wanted], kept, args))


async def _fetch_and_push(wanted: list[str], kept: _TicketShelf, args: argparse.Namespace) -> int:
    fetched, code = await _fetch_all(wanted, kept, args)
    if args.push and fetched:
        code = max(code, await _push(fetched, kept, args))
    return code


async def _push(wanted: list[str], kept: _TicketShelf, args: argparse.Namespace) -> int:
    """Have everybody in *wanted* resolve the ticket that is kept for them."""
    codes = [ExitCode.OK]
    registers = bool(kept.loaded.configuration.sip.registrar)
    async with open_session(kept.loaded, args) as session:
        try:
            if registers:
                await session.agent.register()  # the answers come by SIP
        except CallFailed as error:
            raise CommandFailed(str(error), code=ExitCode.TRANSPORT, reason=error.reason) from None
        for called in wanted:
            try:
                peer = await session.agent.send_ahead(called)
            except CallFailed as error:
                codes.append(for_end(error.reason.family, error.side))
                complain(f"{called}: {error}", as_json=args.json, code=codes[-1], reason=error.reason)
            else:
                now = timestamp(time.time())
                kept.output.document({"ts": now, "type": "ticket.resolved", "peer": peer, "called": called})
                kept.output.text(f"{peer} has resolved the ticket for {called}")
        if registers:
            await session.agent.unregister()
    return max(codes)


async def _fetch_all(
    wanted: list[str], kept: _TicketShelf, args: argparse.Namespace
) -> tuple[list[str], int]:
    """Return for whom there is a ticket now, and the exit code."""
    client = kms_client(kept.loaded.configuration)
    desk = KmsDesk(client, home=kept.keys.kms, timeout_s=kept.config.timeouts.kms, publish=lambda event: None)

    async def ask(message: bytes) -> bytes:
        return (await desk.ask("", "ticket-request", message))[0]

    fetched = []
    codes = [ExitCode.OK]
    async with AsyncExitStack() as stack:
        if client is not None:
            await stack.enter_async_context(client)
        for called in wanted:
            if args.fresh:
                kept.store.forget(called)
            try:
                grant = await kept.store.prefetch(called, ask)
            except (PeerError, AgentError) as error:
                codes.append(_refused(called, error, args))
            else:
                fetched.append(called)
                _show(kept.output, "ticket.fetched", "outgoing", called, facts(grant))
    return fetched, max(codes)


def _refused(called: str, error: PeerError | AgentError, args: argparse.Namespace) -> ExitCode:
    reason = reason_of(error)
    side = getattr(error, "side", "kms")
    code = for_end(reason.family, side)
    complain(f"no ticket for {called}: {error}", as_json=args.json, code=code, reason=reason)
    return code


def _forget(args: argparse.Namespace, kept: _TicketShelf) -> int:
    if not args.uri and not args.all:
        raise ConfigurationError("whose tickets? name URIs, or --all")
    wanted = [canonical(uri) for uri in args.uri]
    count = 0
    for called, _ in kept.file.granted.all():
        if args.all or called in wanted:
            count += kept.file.granted.drop(called)
    for ticket_id, resolved in kept.file.resolved.all():
        initiator = resolved.resolved.policy.initiator or ""
        if args.all or any(same_identity(initiator, uri) for uri in wanted):
            count += kept.file.resolved.drop(ticket_id)
    kept.output.document({"ts": timestamp(time.time()), "type": "tickets.forgotten", "count": count})
    kept.output.text(f"{count} {'ticket' if count == 1 else 'tickets'} forgotten")
    return ExitCode.OK
