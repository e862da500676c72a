"""`sipmikey register`: register with a SIP registrar, and stay registered."""

from __future__ import annotations

import argparse
import asyncio

from sipmikey.agent import CallFailed
from sipmikey.cli.calls.session import Outcome, add_session_options, finish, open_session, positive_seconds
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.settings import ConfigurationError

EXAMPLES = """\
examples:
  sipmikey register --config alice.toml --once         does the registrar take us?
  sipmikey register --config alice.toml --duration 60
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `register` and its options."""
    parser = subparsers.add_parser(
        "register",
        help="register with a SIP registrar and stay registered",
        description="Register, refresh the registration, and remove it at the end.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="exit as soon as the registrar has accepted")
    parser.add_argument("--duration", type=positive_seconds, metavar="SECONDS", help="exit after this long")
    add_session_options(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Register until Ctrl-C, `--once` or `--duration`, and return the exit code."""
    loaded = load_from(args)
    if not loaded.configuration.sip.registrar:
        raise ConfigurationError("no registrar: set sip.registrar, SIPMIKEY_SIP_REGISTRAR or --registrar")
    return asyncio.run(_run(args, loaded))


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration) -> int:
    async with open_session(loaded, args) as session:
        try:
            if await session.until_stopped(session.agent.register()):
                if not args.once:
                    await session.until_stopped(asyncio.Event().wait(), timeout_s=args.duration)
                await session.agent.unregister()
                outcome = Outcome(code=ExitCode.OK)
            else:
                outcome = Outcome(code=ExitCode.INTERRUPTED, reason="cancelled", side="local")
        except CallFailed as error:
            outcome = Outcome.of_failure(error)
    return finish(session, outcome)
