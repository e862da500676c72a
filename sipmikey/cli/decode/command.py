"""`sipmikey decode`: what is in a MIKEY message, and what is wrong with it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sipmikey.cli.decode.keys import add_key_options, unlocker
from sipmikey.cli.decode.printing import document, finding_line, keys, tree
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import Output
from sipmikey.decode.explain.message import Explanation, explain
from sipmikey.decode.explain.node import Finding, Node
from sipmikey.decode.explain.rules import clock_doubts
from sipmikey.decode.sources import FoundMessage, find, is_capture
from sipmikey.decode.unpack import MAX_CAPTURE_OCTETS, unpacked
from sipmikey.mikey.errors import LocalError
from sipmikey.printable import printable

if TYPE_CHECKING:
    from sipmikey.cli.decode.ladder import CapturedMessage

MAX_WORD = 4096
"""A longer word on the command line is not taken for a file name."""

_NAME = re.compile(r"[/\\]|\.[A-Za-z][A-Za-z0-9]{1,9}$|^~")
"""What only a file name has: a folder or an ending."""

EXAMPLES = """\
examples:
  sipmikey decode AQ4FAAAAAAECAg...           base64, as in a=key-mgmt:mikey ...
  sipmikey decode 010b0501cafe...             hexadecimal
  sipmikey decode offer.sdp                   session and media level
  sipmikey decode invite.txt                  SIP, RTSP, HTTP or JSON; - reads standard input
  xxd message.bin | sipmikey decode -         hex dumps: xxd, hexdump, od, Wireshark; C arrays
  sipmikey decode call.pcapng.gz --ladder     who sent what to whom, with MIKEY in it
  sipmikey decode call.pcapng --tpk @tpk.txt  verify and decrypt what the ticket protects
  sipmikey decode --dir ./kms call.pcapng     the same with the keys of a KMS
  sipmikey decode - --json < message.b64

A line names the octet, the field, its value and what it means; payloads name the section that defines them.
The exit status is 0 when every message is well formed (and verifies, where keys are given), 5 when
something is wrong with one, and 2 when nothing in the input could be a MIKEY message.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What one input holds: messages, and the steps of a ladder where it is a capture."""

    found: Sequence[FoundMessage]
    ladder: str = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `decode`."""
    parser = subparsers.add_parser(
        "decode",
        help="explain MIKEY messages from base64, hex, SDP or a capture",
        description="Explain MIKEY messages: every field, and what is wrong with them.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="text, a file name, or - for stdin")
    parser.add_argument("--json", action="store_true", help="one JSON document a message")
    parser.add_argument("--ladder", action="store_true", help="draw the messages of a capture as a ladder")
    parser.add_argument("-v", "--verbose", action="store_true", help="show length fields too")
    add_key_options(parser)


def run(args: argparse.Namespace) -> int:
    """Explain every message in the inputs."""
    output = Output(as_json=args.json)
    found: list[FoundMessage] = []
    for text in args.inputs:
        read = _read(text, args.ladder)
        if args.ladder:
            output.text(read.ladder or "no SIP, HTTP or MIKEY message, or not a capture file")
        found += read.found
    if not found:
        raise LocalError(
            "no MIKEY message in the input: expected base64, hex, a hex dump, an a=key-mgmt line, SDP, SIP,"
            " RTSP, JSON or a capture"
        )
    explanations = [explain(item.data) for item in found]
    messages = [item.message for item in explanations if item.message is not None]
    unlock = unlocker(args, messages)
    unlock.learn(messages)
    if args.show_keys:
        print("sipmikey: keys are shown: keep this output to yourself", file=sys.stderr)
    wrong = False
    for item, explanation in zip(found, explanations, strict=True):
        findings = [Finding(kind="error", detail=text, field="carrier") for text in item.problems]
        findings += explanation.findings
        nodes: list[Node] = []
        if explanation.message is not None:
            findings += clock_doubts(explanation.message, time.time_ns())
            verified, nodes = unlock.look(explanation.message)
            findings += verified
        wrong = wrong or any(finding.kind == "error" for finding in findings)
        output.document(document(explanation, item.where, findings, nodes, show_keys=args.show_keys))
        if not args.ladder:
            _print(output, args, item, explanation, findings, nodes)
    return ExitCode.PEER_REFUSED if wrong else ExitCode.OK


def _print(
    output: Output,
    args: argparse.Namespace,
    item: FoundMessage,
    explanation: Explanation,
    findings: Sequence[Finding],
    key_nodes: Sequence[Node],
) -> None:
    where = f"  ({item.where})" if item.where else ""
    title = f"{explanation.name}, {explanation.octets} octets"
    output.text(f"{output.paint.strong(title)}{printable(where)}")
    for line in tree(explanation.nodes, show_keys=args.show_keys, verbose=args.verbose):
        output.text(line)
    for line in keys(key_nodes, show_keys=args.show_keys):
        output.text(line)
    for finding in findings:
        output.text(finding_line(finding, output.paint))
    if not any(finding.kind == "error" for finding in findings):
        output.text(output.paint.good("well formed"))
    output.text("")


def _read(text: str, ladder: bool) -> _Read:
    """Return what an argument holds: standard input, a file, or what it says itself."""
    path = None if text == "-" else _file(text)
    if text != "-" and path is None:
        found = find(text.encode("utf-8", "surrogateescape"))
        if not found and _NAME.search(text) and len(text) <= MAX_WORD:
            raise LocalError(f"{text}: no such file")
        return _Read(found=found)
    name = "standard input" if path is None else path.name
    octets = unpacked(_octets(path, text), name)
    if not is_capture(octets):
        return _Read(found=find(octets, "" if path is None else name))
    from sipmikey.decode.capture import messages_in  # the packet parsers load slowly

    messages = messages_in(octets, name)
    drawing = _drawn(messages) if ladder else ""
    return _Read(found=[item for message in messages for item in message.found], ladder=drawing)


def _drawn(messages: Sequence[CapturedMessage]) -> str:
    from sipmikey.cli.decode.ladder import capture_steps  # most inputs have no ladder
    from sipmikey.phone.ladder.picture import render

    return render(capture_steps(messages))


def _octets(path: Path | None, text: str) -> bytes:
    try:
        if path is None:
            octets = sys.stdin.buffer.read(MAX_CAPTURE_OCTETS + 1)
        else:
            with path.open("rb") as file:
                octets = file.read(MAX_CAPTURE_OCTETS + 1)
    except OSError as error:
        raise LocalError(f"{text}: {(error.strerror or str(error)).lower()}") from error
    if len(octets) > MAX_CAPTURE_OCTETS:
        raise LocalError(f"{text} has more than {MAX_CAPTURE_OCTETS >> 20} MiB: cut it down")
    return octets


def _file(text: str) -> Path | None:
    """Return the file, pipe or directory that an argument names, None where it names none."""
    if not text or len(text) > MAX_WORD or "\0" in text or "\n" in text:
        return None
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None
