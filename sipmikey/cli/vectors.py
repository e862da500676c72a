"""`sipmikey vectors`: check files of test vectors, print their schema, serve parties that misbehave."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from sipmikey.cli import vectors_serve
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import Output
from sipmikey.vectors.check import Verdict, check
from sipmikey.vectors.file import Vector, exchanges_beside, load, schema

FAILED = 1
"""Exit status when a vector does not hold."""

EXAMPLES = """\
examples:
  sipmikey vectors check tests/vectors/*.json
  sipmikey vectors check --failed prf.json reject.json
  sipmikey vectors check --json exchange-full.json | jq 'select(.ok == false)'

A file has the format mikey-ticket-vectors/1. Exchanges that others rest on are also looked for beside the
files given. The exit status is 1 if a vector does not hold, and 2 if a file cannot be read.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `vectors` and its actions."""
    parser = subparsers.add_parser("vectors", help="check test vectors")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    command = actions.add_parser(
        "check",
        help="recompute every value of the vectors in files",
        description="Recompute every expected value from the messages and credentials of each vector.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="vector file")
    command.add_argument("--json", action="store_true", help="one JSON document a vector, and a summary")
    command.add_argument("--failed", action="store_true", help="print only vectors that do not hold")
    vectors_serve.add_parser(actions)
    actions.add_parser(
        "schema",
        help="print the JSON schema of vector files",
        description="Print the JSON schema (draft 2020-12) of files of the format mikey-ticket-vectors/1.",
    )


def run(args: argparse.Namespace) -> int:
    """Check the files, and return 0, or 1 if a vector does not hold; or do what another action says."""
    if args.action == "schema":
        print(schema(), end="")
        return ExitCode.OK
    output = Output(as_json=args.json)
    if args.action == "serve":
        return vectors_serve.run(args, output)
    files = [(path, load(path)) for path in args.files]
    bases: dict[str, Vector] = {str(item.get("name")): item for item in exchanges_beside(args.files)}
    for _, vectors in files:
        bases |= {str(item.get("name")): item for item in vectors if item.get("kind") == "exchange"}
    counts: Counter[str] = Counter()
    for path, vectors in files:
        for vector in vectors:
            verdict = check(vector, bases)
            counts["vectors"] += 1
            counts["failed"] += bool(verdict.faults)
            counts["unjudged"] += not verdict.judged
            if verdict.faults or not args.failed:
                _print(output, path, verdict)
    names = ("vectors", "failed", "unjudged")
    output.document({"type": "summary"} | {name: counts[name] for name in names})
    output.text(f"{counts['vectors']} vectors, {counts['failed']} failed")
    if counts["unjudged"]:
        output.text(
            f"{counts['unjudged']} of them were not judged: that is a failure of this checker or of the file,"
            " not of an implementation"
        )
    return FAILED if counts["failed"] else ExitCode.OK


def _print(output: Output, path: Path, verdict: Verdict) -> None:
    paint = output.paint
    output.document(
        {
            "type": "vector",
            "file": path,
            "kind": verdict.kind,
            "name": verdict.name,
            "ok": not verdict.faults,
            "judged": verdict.judged,
            "faults": verdict.faults,
            "note": verdict.note,
        }
    )
    word = paint.bad("FAIL" if verdict.judged else "????") if verdict.faults else paint.good("ok  ")
    note = f"  ({verdict.note})" if verdict.note else ""
    output.text(f"{word} {verdict.kind:8} {verdict.name}{paint.faint(note)}")
    for fault in verdict.faults:
        output.text(f"       {fault}")
