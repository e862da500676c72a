"""`sipmikey group`: a session of a group on a multicast address, under a group key (RFC 6043 section 9)."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace

from sipmikey.agent import CallFailed
from sipmikey.call.reasons import AgentError
from sipmikey.cli.calls.session import (
    Outcome,
    add_session_options,
    finish,
    open_session,
    positive_seconds,
)
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import table
from sipmikey.cli.group.call import chair
from sipmikey.cli.group.join import take_part
from sipmikey.cli.group.sound import has_devices
from sipmikey.cli.parser import add_verb

CALL = """\
  sipmikey group call --config alice.toml sip:talk@example.com sip:bob@example.com --media 239.255.60.43:5004
  sipmikey group call --config alice.toml sip:talk@example.com sip:bob@example.com sip:carol@example.com \\
      --media 239.255.60.43:5004 --play news.wav --announce
"""

JOIN = """\
  sipmikey group join --config bob.toml sip:talk@example.com --chair sip:alice@example.com
  sipmikey group join --config bob.toml sip:talk@example.com --chair sip:alice@example.com \\
      --null-audio --record heard.wav
  sipmikey group join --config bob.toml sip:talk@example.com --chair sip:alice@example.com --play answer.wav
"""

KEYS = """\
What others say comes out of the speaker. At a terminal the space bar takes the floor, and the others hear the
microphone; the space bar again gives the floor back. With t, who opened the session takes the floor away
from the member that talks. A file of --play takes the microphone's place, and the
floor is asked for by itself; --record writes what is heard as well. --null-audio does without devices.
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
        epilog=f"examples:\n{CALL}{JOIN}\n{KEYS}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="group_verb", metavar="VERB", required=True)
    for verb, body in ((_add_call(verbs), chair), (_add_join(verbs), take_part)):
        verb.add_argument(
            "--interface",
            default="",
            metavar="INTERFACE",
            help="interface of the media: its IPv4 address or, with an IPv6 multicast address, its name",
        )
        verb.add_argument("--duration", type=positive_seconds, metavar="SECONDS", help="exit after this long")
        verb.set_defaults(group_run=body)
        add_session_options(verb)
        add_options(verb)


def _add_call(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    call = add_verb(
        verbs,
        "call",
        help="open the session of a group, invite members, and let others join",
        examples=f"{CALL}\n{KEYS}",
    )
    call.add_argument("group", help="the group's URI, as the KMS knows it")
    call.add_argument("member", nargs="*", help="whom to invite; others may ask to join")
    call.add_argument(
        "--media",
        required=True,
        metavar="HOST:PORT",
        help="multicast address of the media: 239.255.60.43:5004, [ff15::60:43]:5004",
    )
    call.add_argument("--announce", action="store_true", help="only the chair talks")
    call.add_argument(
        "--rekey",
        type=positive_seconds,
        default=900.0,
        metavar="SECONDS",
        help="how often there is a new key, with a new look at who is in the group [900]",
    )
    call.add_argument(
        "--floor-limit",
        type=positive_seconds,
        default=120.0,
        metavar="SECONDS",
        help="how long a member may talk at a time [120]",
    )
    call.add_argument(
        "--wait-for", type=int, default=1, metavar="N", help="members to wait for before --play begins [1]"
    )
    return call


def _add_join(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    join = add_verb(verbs, "join", help="join the session of a group", examples=f"{JOIN}\n{KEYS}")
    join.add_argument("group", help="the group's URI, as the KMS knows it")
    join.add_argument("--chair", required=True, metavar="URI", help="who opened the session")
    join.add_argument("--via", metavar="SIP-URI", help="where the chair is, without a proxy")
    return join


def run(args: argparse.Namespace) -> int:
    """Do what the verb says until Ctrl-C, `--duration` or the end, and return the exit code."""
    loaded = load_from(args)
    devices = has_devices(loaded.configuration.media)
    # The agent makes no calls: the devices are the group's.
    media = replace(loaded.configuration.media, device="null")
    loaded = replace(loaded, configuration=replace(loaded.configuration, media=media))
    return asyncio.run(_run(args, loaded, devices=devices))


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration, *, devices: bool) -> int:
    async with open_session(loaded, args) as session:
        try:
            if loaded.configuration.sip.registrar:
                await session.until_stopped(session.agent.register())
            outcome = await args.group_run(args, session, devices=devices)
        except (AgentError, CallFailed) as error:
            outcome = Outcome.of_failure(_failed(error))
    return finish(session, outcome)


def _failed(error: AgentError | CallFailed) -> CallFailed:
    if isinstance(error, CallFailed):
        return error
    return CallFailed(error.reason, error.side, 0, error.detail)
