"""`sipmikey load`: calls per second, held calls, percentiles, and JUnit for machines that run tests."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from contextlib import AsyncExitStack
from pathlib import Path

from sipmikey.agent import Agent, CallFailed
from sipmikey.cli.calls.session import opened, positive_seconds
from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, table
from sipmikey.cli.load.figures import Limits, MadeCall, document, junit, verdicts
from sipmikey.cli.load.runner import Load
from sipmikey.cli.output import Output
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.identity import canonical

MOST_AT_ONCE = 100

EXAMPLES = """\
examples:
  sipmikey load --config alice.toml sip:bob@example.com --calls 50 --rate 2 --hold 5
  sipmikey load --config alice.toml sip:bob@example.com --via sip:192.0.2.7:5060 \\
      --calls 200 --rate 10 --at-once 40 --answered-p95 500 --failures 2 --junit load.xml

The callee has to answer by itself, as `sipmikey echo` does, and to take as many calls at a time and a second
(sip.calls, sip.calls_per_second). Calls go out at their times, whatever becomes of those before, and nothing
is said in them.

exit code 0: everything that was to hold holds; 1: something does not
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `load` and its options."""
    parser = subparsers.add_parser(
        "load",
        help="make many calls, and report times and failures",
        description="Make many calls to one callee at a rate, and tell how they went.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("uri", metavar="SIP-URI", help="whom to call")
    parser.add_argument("--via", metavar="SIP-URI", help="send the INVITEs there")
    parser.add_argument("--calls", type=_count, default=10, metavar="N", help="how many calls [10]")
    parser.add_argument("--rate", type=positive_seconds, default=1.0, metavar="N", help="calls a second [1]")
    parser.add_argument(
        "--hold", type=positive_seconds, default=1.0, metavar="SECONDS", help="how long each lasts [1]"
    )
    parser.add_argument(
        "--at-once",
        type=_count,
        metavar="N",
        help="calls held at a time at most [rate times hold, and 4 more]",
    )
    parser.add_argument("--failures", type=int, default=0, metavar="N", help="how many calls may fail [0]")
    for name, words in (("answered", "answered"), ("proven", "proven, which takes a packet of the callee")):
        parser.add_argument(
            f"--{name}-p95", type=positive_seconds, metavar="MS",
            help=f"95 of 100 calls have to be {words}, within so many milliseconds",
        )  # fmt: skip
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write what was to hold as JUnit")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    add_options(parser)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def run(args: argparse.Namespace) -> int:
    """Make the calls, print how they went, and return the exit code."""
    canonical(args.uri)
    loaded = load_from(args)
    return asyncio.run(_run(args, loaded))


async def _run(args: argparse.Namespace, loaded: LoadedConfiguration) -> int:
    output = Output(as_json=args.json)
    at_once = min(args.at_once or int(args.rate * args.hold) + 4, MOST_AT_ONCE, args.calls)
    config = agent_config(loaded.configuration)
    quiet = dataclasses.replace(config.audio, device="null", play=None, record=None)
    # No tickets are renewed beside the calls that are measured.
    keys = None if config.keys is None else dataclasses.replace(config.keys, contacts=())
    config = dataclasses.replace(config, audio=quiet, keys=keys, calls=max(config.calls, at_once))

    def tell(made: MadeCall) -> None:
        if made.reason:
            output.text(f"call {len(load.calls)}: {made.reason}")

    async with AsyncExitStack() as stack:
        client = kms_client(loaded.configuration)
        if client is not None:
            await stack.enter_async_context(client)
        agent = Agent(config, kms=client)
        await stack.enter_async_context(opened(agent))
        load = Load(
            agent=agent, uri=args.uri, via=args.via, count=args.calls, rate=args.rate, hold_s=args.hold,
            at_once=at_once, progress=tell,
        )  # fmt: skip
        output.text(f"{args.calls} calls, {args.rate:g} a second, {args.hold:g} s each, {at_once} at a time")
        try:
            if loaded.configuration.sip.registrar:
                await agent.register()
            seconds = await load.run()
        except CallFailed as error:
            raise CommandFailed(str(error), code=ExitCode.CALL_FAILED, reason=str(error.reason)) from None
    return _report(args, load, seconds, output)


def _report(args: argparse.Namespace, load: Load, seconds: float, output: Output) -> int:
    limits = Limits(failures=args.failures, answered_ms=args.answered_p95, proven_ms=args.proven_p95)
    found = list(verdicts(load.calls, limits))
    told = document(load.calls, seconds=seconds, held_at_once=load.most_at_once, rate=args.rate)
    told["late"] = load.late
    told["holds"] = {verdict.name: verdict.holds for verdict in found}
    output.document(told)
    output.text(
        f"{told['calls']} calls in {told['seconds']} s, {told['calls_per_second']} a second,"
        f" {load.most_at_once} at a time at most, {load.late} began late"
    )
    for name in ("answered_ms", "proven_ms"):
        if isinstance(spread := told[name], dict) and spread:
            shown = ", ".join(f"{word} {value}" for word, value in spread.items())
            output.text(f"{name.removesuffix('_ms')} after (ms): {shown}")
    for verdict in found:
        mark = output.paint.good("ok") if verdict.holds else output.paint.bad("BAD")
        output.text(f"{mark}  {verdict.name}: {verdict.found}")
    if args.junit is not None:
        try:
            args.junit.write_bytes(junit(found, seconds=seconds))
        except OSError as error:
            raise LocalError(f"{args.junit}: {error.strerror}") from None
    return ExitCode.OK if all(verdict.holds for verdict in found) else ExitCode.CALL_FAILED
