"""`sipmikey demo`: a KMS and two agents on this machine, a secured call, and the proof that it worked."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sipmikey.capture import CaptureError, LoopbackCapture, enter_private_network
from sipmikey.cli.calls.narrate import narrate
from sipmikey.cli.config.sections.values import STACKS
from sipmikey.cli.demo.actor import ActorFailed
from sipmikey.cli.demo.checks import Check, Hearing, check_call, check_hearing, listen, messages, packets
from sipmikey.cli.demo.deferred import judge_deferred, perform_deferred
from sipmikey.cli.demo.group import group_line, judge_group, perform_group
from sipmikey.cli.demo.modes import DEFERRED, GROUP, MEANING, MESSAGES, MODES
from sipmikey.cli.demo.stage import ASSETS, TALK_S, Performance, perform
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import Output
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.ladder.events import steps
from sipmikey.phone.ladder.picture import render
from sipmikey.printable import printable

PARTIES = ("caller", "callee")

KEPT_VARIABLES = frozenset({"SIPMIKEY_DEBUG", "SIPMIKEY_PURE"})

EXAMPLES = """\
examples:
  sipmikey demo
  sipmikey demo --suite 128
  sipmikey demo --mode kerberos
  sipmikey demo --stack python                   without pjsua2
  sipmikey demo --stack caller=pjsua2,callee=python
  sipmikey demo --mode group                     three talk, one is not let in, one is put out
  sipmikey demo --mode deferred                  bob does not answer: a message
  sipmikey demo --json | jq .checks
  sipmikey demo --pcap call.pcap && tshark -r call.pcap -Y 'sip or http or rtp'

--pcap needs no root where Linux lets users make network namespaces: the demonstration then runs in a network
of its own and the capture holds nothing else. Elsewhere it needs root or CAP_NET_RAW.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo` and its options."""
    parser = subparsers.add_parser(
        "demo",
        help="run a KMS and two agents here and prove that a secured call works",
        description=(
            "Start a KMS, let alice call bob with keys from a ticket, let both say a sentence, and check that"
            " the other one heard it. Everything runs on this machine and without a sound device."
        ),
        epilog=f"{EXAMPLES}\nThe exit code is 0 if every check holds, and 7 if one does not.\n\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--suite", choices=("256", "128"), default="256", help="suite of RFC 6043 section 12.1 [256]"
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="full",
        help="mode of RFC 6043 section 4.1.1, or full-pk, group or deferred [full]",
    )
    parser.add_argument(
        "--stack",
        type=_stacks,
        default={},
        metavar="STACK",
        help="SIP stack of both: pjsua2 or python; or of each: caller=pjsua2,callee=python",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead")
    parser.add_argument(
        "--pcap", type=Path, metavar="FILE", help="keep SIP, HTTP and SRTP packets as a capture"
    )
    parser.add_argument("--ladder", action="store_true", help="draw the messages as a ladder")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep recordings, keys and KMS in this directory"
    )


def _stacks(text: str) -> dict[str, str]:
    """Return the SIP stacks of caller and callee, as far as *text* names them."""
    if text in STACKS:
        return dict.fromkeys(PARTIES, text)
    named = dict(part.partition("=")[::2] for part in text.split(","))
    if not named.keys() <= set(PARTIES) or not set(named.values()) <= set(STACKS):
        raise argparse.ArgumentTypeError(f"{text!r}: say python, or pjsua2, or caller=pjsua2,callee=python")
    return named


def run(args: argparse.Namespace) -> int:
    """Run the demonstration and return 0 only if every check holds."""
    if args.stack and args.mode in (GROUP, DEFERRED):
        raise LocalError(f"--stack is for calls, not for --mode {args.mode}")
    if args.pcap is not None:
        _claim(args.pcap)
    for name in [name for name in os.environ if name.startswith("SIPMIKEY_") and name not in KEPT_VARIABLES]:
        del os.environ[name]  # a user's own settings are not for alice and bob
    os.environ["XDG_CONFIG_HOME"] = os.devnull
    capture, alone = None, False
    try:
        if args.pcap is not None:
            alone = enter_private_network()
            capture = LoopbackCapture(None if alone else ())
            capture.start()
    except CaptureError as error:
        Output(as_json=args.json).document({"type": "demo", "ok": False, "error": str(error)})
        print(f"sipmikey: {printable(str(error), most=None)}", file=sys.stderr)
        return ExitCode.USAGE
    with _folder(args.keep) as folder:
        return asyncio.run(_run(args, folder, capture))


def _claim(path: Path) -> None:
    """Check that the capture can be written, before there is a call to lose."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise LocalError(f"--pcap {path}: {error.strerror}") from None


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        try:
            keep.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise LocalError(
                f"--keep {keep}: {error.strerror}: name a directory that does not exist yet"
            ) from None
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="sipmikey-demo-") as name:
        yield Path(name)


async def _run(args: argparse.Namespace, folder: Path, capture: LoopbackCapture | None) -> int:
    output = Output(as_json=args.json)
    show = Performance(folder=folder, started=time.time(), capture=capture)
    what = {DEFERRED: "message", GROUP: "session"}.get(args.mode, "call")
    each_way = f", {TALK_S:g} s of speech each way" if what == "call" else ""
    parties = "of a group" if args.mode == GROUP else "from alice to bob"
    output.text(f"A {what} {parties} with keys of MIKEY-TICKET, all on this machine.")
    output.text(f"mode {args.mode}: {MEANING[args.mode]}")
    output.text(f"suite {args.suite}, security required, no sound device{each_way}\n")

    def tell(name: str, event: dict[str, Any]) -> None:
        if event["type"].startswith("group."):
            _line(output, event["at"] - show.started, name, group_line(event))
            return
        if event["type"] == "call.state" and event["security"]["media"] != "proven":
            return  # the steps on the way are told by other events
        if (line := narrate(event, output.paint, called=name == "bob")) is not None:
            _line(output, event["at"] - show.started, name, line.replace(" | ", "\n"))

    error = ""
    try:
        if args.mode == DEFERRED:
            await perform_deferred(show, suite=args.suite, tell=tell)
        elif args.mode == GROUP:
            await perform_group(show, suite=args.suite, tell=tell)
        else:
            await perform(show, suite=args.suite, mode=args.mode, tell=tell, stacks=args.stack)
    except ActorFailed as failure:
        error = str(failure)
    began = time.monotonic()
    checks, hearings = _judge(show, args, error)
    show.phase("checks", began)
    kept = None
    if capture is not None:
        kept = capture.save(args.pcap)
        checks.append(
            Check(name="capture", ok=kept > 0 and not capture.dropped,
                  detail=f"{kept} packets in {args.pcap}, {capture.dropped} lost")
        )  # fmt: skip
    ok = all(check.ok for check in checks)
    if args.ladder:
        output.text(f"\n{_ladder(show)}")
    _report(output, show, checks, ok, what)
    output.document(_document(show, args, checks, hearings, ok, error))
    return ExitCode.OK if ok else ExitCode.MEDIA


def _judge(show: Performance, args: argparse.Namespace, error: str) -> tuple[list[Check], list[Hearing]]:
    """Return all checks of the call, and what was heard."""
    if error or show.alice is None or show.bob is None:
        return [Check(name="the call", ok=False, detail=error or "did not take place")], []
    if args.mode == DEFERRED:
        return judge_deferred(show)
    if args.mode == GROUP:
        return judge_group(show)
    checks = list(
        check_call(show.alice, show.bob, suite=args.suite, seconds=TALK_S, expected=MESSAGES[args.mode])
    )
    hearings = []
    for here, there in (("bob", "alice"), ("alice", "bob")):
        played, other = ASSETS / f"{there}.wav", ASSETS / f"{here}.wav"
        try:
            hearing = listen(here, show.recording(here), played_by_peer=played, played_here=other)
        except LocalError as failure:  # no recording, or an empty one
            checks.append(Check(name=f"{here} heard", ok=False, detail=str(failure)))
            continue
        hearings.append(hearing)
        checks.append(check_hearing(hearing))
    for name, code in show.exit_codes.items():
        checks.append(Check(name=f"{name} exit code", ok=code == 0, detail=str(code)))
    return checks, hearings


def _ladder(show: Performance) -> str:
    """Return the ladder of the whole call: alice's view, and of bob's what alice did not see."""
    drawn = list(steps(show.alice.events, us="alice", peer="bob")) if show.alice is not None else []
    if show.bob is not None:
        drawn += [
            step
            for step in steps(show.bob.events, us="bob", peer="alice")
            if "alice" not in (step.source, step.target)
        ]
    return render(sorted(drawn, key=lambda step: step.time), lanes=("alice", "bob", "KMS"))


def _line(output: Output, at: float, name: str, text: str) -> None:
    first, *more = text.splitlines()
    output.text(f"{output.paint.faint(f'{at:7.3f} s')}  {name:<5}  {first}")
    for line in more:
        output.text(f"{'':18}{line.strip()}")


def _report(output: Output, show: Performance, checks: list[Check], ok: bool, what: str) -> None:
    paint = output.paint
    output.text("")
    for check in checks:
        mark = paint.good("yes") if check.ok else paint.bad("NO ")
        output.text(f"  {mark}  {check.name:<22} {check.detail}")
    output.text("\n" + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in show.phases.items()))
    verdict = f"The {what} was protected end to end, and the speech arrived."
    output.text(
        paint.good(verdict) if ok else paint.bad("Something is not as it must be: see the lines with NO.")
    )


def _document(
    show: Performance,
    args: argparse.Namespace,
    checks: list[Check],
    hearings: list[Hearing],
    ok: bool,
    error: str,
) -> dict[str, Any]:
    """Return everything as one JSON document."""
    staged = (show.kms, show.alice, show.bob, *show.others.values(), show.mailbox)
    actors = [actor for actor in staged if actor is not None]
    both = show.alice is not None and show.bob is not None
    ticket = next(
        (event["ticket"] for actor in actors for event in actor.all("kms.response") if event["ticket"]), None
    )
    return {
        "type": "demo",
        "ok": ok,
        "error": error or None,
        "suite": args.suite,
        "mode": args.mode,
        "phases": show.phases,
        "messages": messages(show.alice, show.bob) if both and show.alice and show.bob else [],
        "ticket": ticket,
        "packets": {actor.name: packets(actor) for actor in actors if actor.name not in ("kms", "box")},
        "speech": [asdict(hearing) for hearing in hearings],
        "checks": [asdict(check) for check in checks],
        "pcap": args.pcap,
        "events": [event | {"process": actor.name} for actor in actors for event in actor.events],
    }
