"""`sipmikey report`: one JSON document to put into a report of a defect."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import JsonValue
from sipmikey.cli.report.collect import configured, packages, secrets_of, variables, versions
from sipmikey.cli.report.events import redacted_events
from sipmikey.cli.report.redaction import Redactor
from sipmikey.guard import create_private
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.settings import ConfigurationError

SCHEMA_VERSION = 1
USUAL_FILE = Path("sipmikey-report.json")

EXAMPLES = """\
examples:
  sipmikey call --config alice.toml --json sip:bob@example.com > call.jsonl
  sipmikey report --config alice.toml --events call.jsonl
  sipmikey report --no-check --to -        without network and sound, printed

The report has versions, the settings that you changed, what `sipmikey check` finds, and the events. It has no
key, password, ticket, message, digit or sound. Users, hosts, addresses and folders become user-1, host-1
and so on, the same throughout, unless you say --keep-names. Read it before you send it.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `report` and its options."""
    parser = subparsers.add_parser(
        "report",
        help="collect what a bug report needs, without names and secrets",
        description="Write versions, settings, findings and events into one file, without names and secrets.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--events", type=Path, action="append", default=[], metavar="FILE",
        help="what a command printed with --json; may be given several times, - is standard input",
    )  # fmt: skip
    parser.add_argument(
        "--to", dest="output", type=Path, default=USUAL_FILE, metavar="FILE",
        help=f"file to write, - for standard output [{USUAL_FILE}]",
    )  # fmt: skip
    parser.add_argument("--no-check", action="store_true", help="leave out what `sipmikey check` does")
    parser.add_argument("--keep-names", action="store_true", help="keep users, hosts, addresses and folders")
    parser.add_argument("--force", action="store_true", help="overwrite the file if there is one")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report; return the exit code."""
    to_stdout = str(args.output) == "-"
    if not to_stdout and args.output.exists() and not args.force:
        raise LocalError(f"{args.output} is there already: --force overwrites it, --to FILE takes another")
    report = _report(args)
    if to_stdout:
        sys.stdout.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        return ExitCode.OK
    write_report(report, args.output)
    print(f"{args.output} is written. Read it before you send it: you know what should not be in it.")
    return ExitCode.OK


def _report(args: argparse.Namespace) -> dict[str, JsonValue]:
    loaded, wrong = _loaded(args)
    sources = [_read(path) for path in args.events]
    return make_report(loaded, sources, wrong=wrong, keep_names=args.keep_names, check=not args.no_check)


def make_report(
    loaded: LoadedConfiguration | None,
    sources: Iterable[Iterable[str]],
    *,
    wrong: str = "",
    keep_names: bool = False,
    check: bool = False,
) -> dict[str, JsonValue]:
    """Return a report with the events of *sources*, each the lines that one command printed.

    *wrong*: why there is no configuration. *check*: do what `sipmikey check` does, which takes seconds.
    """
    secrets = () if loaded is None else tuple(secrets_of(loaded))
    redactor = Redactor(secrets, keep_names=keep_names)
    report: dict[str, JsonValue] = {
        "report": SCHEMA_VERSION,
        "names": "kept" if keep_names else "replaced",
        "versions": redactor.value(versions()),
        "packages": packages(),
        "variables": variables(),
        "configuration": {"error": redactor.text(wrong)} if loaded is None else configured(loaded, redactor),
        "check": "left out" if loaded is None or not check else _findings(loaded, redactor),
    }
    report["events"] = {str(number): _events(lines, redactor) for number, lines in enumerate(sources, 1)}
    return report


def write_report(report: dict[str, JsonValue], path: Path) -> None:
    """Write *report* for its owner alone. Raises ``LocalError``."""
    try:
        create_private(path)
        path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None


def _loaded(args: argparse.Namespace) -> tuple[LoadedConfiguration | None, str]:
    """Return the configuration, or why there is none: that may be what the report is about."""
    try:
        return load_from(args), ""
    except ConfigurationError as error:
        return None, str(error)


def _findings(loaded: LoadedConfiguration, redactor: Redactor) -> JsonValue:
    """Return what `sipmikey check` finds, up to what ended it."""
    found: list[JsonValue] = []

    async def check() -> None:
        from sipmikey.cli.calls.findings import findings  # needs pjsua2

        async for finding in findings(loaded.configuration):
            found.append(redactor.value({**asdict(finding), "state": str(finding.state)}))

    try:
        asyncio.run(check())
    except ImportError as error:
        found.append({"name": "check", "state": "bad", "detail": f"{error.name} is not installed"})
    except (SipmikeyError, OSError) as error:
        found.append({"name": "check", "state": "bad", "detail": redactor.text(str(error))})
    return found


def _events(lines: Iterable[str], redactor: Redactor) -> JsonValue:
    kept, left_out = redacted_events(lines, redactor)
    return {"events": kept, "lines_left_out": left_out}


def _read(path: Path) -> Iterable[str]:
    try:
        if str(path) == "-":
            return sys.stdin.readlines()
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
