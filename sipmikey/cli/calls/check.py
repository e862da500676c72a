"""`sipmikey check`: does everything work that a call needs?"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict

from sipmikey.cli.calls.findings import Finding, State, findings
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import Output, Paint

EXAMPLES = """\
examples:
  sipmikey check --config alice.toml
  sipmikey check --json | jq 'select(.state == "bad")'

exit code 0: calls can work; 3: something they need does not, and the line says what to do
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check` and its options."""
    parser = subparsers.add_parser(
        "check",
        help="check registrar, KMS, STUN, TURN, sound, codecs, certificates, mailbox",
        description="Try out everything a call needs, and say of each what is wrong and what to do.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON document a finding")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check all, one line each; return the exit code."""
    loaded = load_from(args)
    output = Output(as_json=args.json)

    async def check() -> list[Finding]:
        found = []
        async for finding in findings(loaded.configuration):
            output.document({"type": "check", **asdict(finding)})
            output.text(line(finding, output.paint))
            found.append(finding)
        return found

    bad = any(finding.state is State.BAD for finding in asyncio.run(check()))
    return ExitCode.TRANSPORT if bad else ExitCode.OK


def line(finding: Finding, paint: Paint) -> str:
    """Return a finding as one line for people."""
    marks = {
        State.OK: paint.good("ok     "),
        State.WARNING: paint.strong("warning"),
        State.BAD: paint.bad("BAD    "),
        State.UNUSED: paint.faint("unused "),
    }
    told = f"{marks[finding.state]} {finding.name:<12} {finding.detail}"
    return f"{told}; {finding.advice}" if finding.advice else told
