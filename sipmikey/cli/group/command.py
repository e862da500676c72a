"""`sipmikey group`: a session of a group on a multicast address, under a group key (RFC 6043 section 9)."""

from __future__ import annotations

import argparse
import asyncio

from sipmikey.agent import CallFailed
from sipmikey.call.reasons import AgentError
from sipmikey.cli.calls.session import (
    Outcome,
    add_session_options,
    finish,
    open_session,
    positive_seconds,
)
from sipmikey.cli.config.load import Loaded
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import table
from sipmikey.cli.group.call import chair
from sipmikey.cli.group.join import take_part
from sipmikey.cli.parser import add_verb

CALL = """\
  sipmikey group call --config alice.toml sip:talk@example.com --media 239.255.60.43:5004
  sipmikey group call --config alice.toml sip:talk@example.com sip:bob@example.com sip:carol@example.com \\
      --media 239.255.60.43:5004 --play news.wav --announce
"""

JOIN = """\
  sipmikey group join --config bob.toml sip:talk@example.com --chair sip:alice@example.com --record heard.wav
  sipmikey group join --config bob.toml sip:talk@example.com --chair sip:alice@example.com --play answer.wav
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `group` and its verbs."""
    parser = subparsers.add_parser(
        "group",
        help="talk in a group under a group key: one at a time, on a multicast address",
        description=(
            "Talk in a group under a group key, one at a time, on a multicast address. The KMS says who is in"
            " the group (sipmikey kms group)."
        ),
        epilog=f"examples:\n{CALL}{JOIN}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="group_verb", metavar="VERB", required=True)
    call = add_verb(
        verbs, "call", help="open the session of a group, invite members, and let others join", examples=CALL
    )
    call.add_argument("group", help="the group's URI, as the KMS knows it")
    call.add_argument("member", nargs="*", help="whom to invite; others may ask to join")
    call.add_argument("--media", required=True, metavar="HOST:PORT", help="multicast address of the media")
    call.add_argument("--announce", action="store_true", help="nobody talks but us")
    call.add_argument(
        "--rekey",
        type=positive_seconds,
        default=900.0,
        metavar="SECONDS",
        help="how often there is a new key, with a new look at who is in the group [900]",
    )
    call.add_argument(
        "--wait-for", type=int, default=1, metavar="N", help="members to wait for before --play begins [1]"
    )
    join = add_verb(verbs, "join", help="join the session of a group", examples=JOIN)
    join.add_argument("group", help="the group's URI, as the KMS knows it")
    join.add_argument("--chair", required=True, metavar="URI", help="who opened the session")
    join.add_argument("--via", metavar="SIP-URI", help="where the chair is, without a proxy")
    for verb, body in ((call, chair), (join, take_part)):
        verb.add_argument("--interface", default="0.0.0.0", help="IPv4 address of the interface of the media")
        verb.add_argument("--duration", type=positive_seconds, metavar="SECONDS", help="leave after so long")
        verb.set_defaults(group_run=body)
        add_session_options(verb)
        add_options(verb)


def run(args: argparse.Namespace) -> int:
    """Do what the verb says until Ctrl-C, `--duration` or the end, and return the exit code."""
    setattr(args, "media.device", "null")  # a group's media comes from a file and goes into one
    loaded = load_from(args)
    return asyncio.run(_run(args, loaded))


async def _run(args: argparse.Namespace, loaded: Loaded) -> int:
    async with open_session(loaded, args) as session:
        try:
            if loaded.configuration.sip.registrar:
                await session.until_stopped(session.agent.register())
            outcome = await args.group_run(args, session)
        except (AgentError, CallFailed) as error:
            outcome = Outcome.of_failure(_failed(error))
    return finish(session, outcome)


def _failed(error: AgentError | CallFailed) -> CallFailed:
    if isinstance(error, CallFailed):
        return error
    return CallFailed(error.reason, error.side, 0, error.detail)
