"""`sipmikey conformance`: test a KMS or a user agent against RFC 6043, a line a requirement."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.output import Output
from sipmikey.conformance.agent import AGENT_REQUIREMENTS
from sipmikey.conformance.agent_modes import MODE_REQUIREMENTS
from sipmikey.conformance.agent_resolve import ASKING_REQUIREMENTS
from sipmikey.conformance.agent_subject import AgentSubject, Door
from sipmikey.conformance.agent_update import UPDATE_REQUIREMENTS
from sipmikey.conformance.authority import CertifiedParties, kept_domain, read_holder, untrusted_copy
from sipmikey.conformance.broken.kms import BrokenKms
from sipmikey.conformance.http import poster, serving
from sipmikey.conformance.kms import KMS_REQUIREMENTS
from sipmikey.conformance.kms_public_key import PUBLIC_KEY_REQUIREMENTS
from sipmikey.conformance.kms_resolve import RESOLVE_REQUIREMENTS
from sipmikey.conformance.kms_subject import KmsSubject, Party
from sipmikey.conformance.report import counts, document, junit
from sipmikey.conformance.requirement import Requirement, Result
from sipmikey.conformance.sip_udp import Caller
from sipmikey.conformance.suite import run as run_suite
from sipmikey.conformance.suite import select
from sipmikey.key_file import read_key_option
from sipmikey.keys.suite import SUITE_128, SUITE_256
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.pem_file import read_certificates
from sipmikey.system import environment
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.identity import canonical

Subject = TypeVar("Subject")

_KMS_ITEMS = [*KMS_REQUIREMENTS.items, *RESOLVE_REQUIREMENTS.items, *PUBLIC_KEY_REQUIREMENTS.items]
_AGENT_ITEMS = [
    *AGENT_REQUIREMENTS.items,
    *ASKING_REQUIREMENTS.items,
    *MODE_REQUIREMENTS.items,
    *UPDATE_REQUIREMENTS.items,
]

BROKEN = 1
"""Exit status when a requirement that is a must is broken."""

EXAMPLES = """\
examples:
  sipmikey conformance --kms http://127.0.0.1:8080 --kms-identity sip:kms@example.com \\
      --initiator sip:alice@example.com --initiator-psk @alice.key \\
      --responder sip:bob@example.com --responder-psk @bob.key --junit kms.xml
  sipmikey conformance --agent sip:bob@127.0.0.1:5070 --responder-psk @bob.key \\
      --initiator sip:alice@127.0.0.1 --initiator-psk @alice.key \\
      --ticket-key @bob.tpk --initiator-ticket-key @alice-and-bob.tpk --only 'kerberos-*'
  sipmikey conformance --list
  sipmikey conformance --kms URL ... --only 'resolve-*'

A user agent under test asks the KMS that this command is: set its KMS to the URL that is printed
(--kms-listen says where). It has to take calls by itself.

exit codes:
    0  every requirement that is a must is met (a should that is not is a warning)
    1  a requirement is broken
    2  wrong option or input
    3  the user agent could not be reached
    4  the KMS could not be reached
"""

_AGENT = re.compile(r"(?P<uri>sips?:[^@\s]+@(?P<host>\[[^\]]+\]|[^:;\s]+)(?::(?P<port>\d{1,5}))?)")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `conformance`."""
    parser = subparsers.add_parser(
        "conformance",
        help="test a KMS or a user agent against RFC 6043, requirement by requirement",
        description="Test a KMS, or a user agent that is called, against RFC 6043: a line a requirement.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kms", metavar="URL", help="the KMS under test")
    what.add_argument("--agent", metavar="URI", help="the user agent under test, sip:USER@HOST[:PORT]")
    what.add_argument("--list", action="store_true", help="name the requirements and stop")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="test these; * fits all")
    parser.add_argument("--json", action="store_true", help="one JSON document a requirement, and a summary")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit")
    parser.add_argument("--kms-identity", metavar="URI", help="IDRkms (default: sip:kms@ and the domain)")
    parser.add_argument("--suite", choices=("256", "128"), default="256", help="algorithms (default: 256)")
    parser.add_argument("--ca", type=Path, metavar="PEM", help="what an https KMS is trusted by")
    parser.add_argument("--kms-listen", default="127.0.0.1:6043", metavar="HOST:PORT",
                        help="where the KMS for --agent listens (default: %(default)s)")  # fmt: skip
    for role, text in (
        ("initiator", "who asks for tickets and calls"),
        ("responder", "who is called and resolves them"),
        ("stranger", "a third subscriber, for whom no ticket is"),
    ):
        parser.add_argument(f"--{role}", metavar="URI", help=text)
        parser.add_argument(f"--{role}-psk", metavar="KEY", help="its key: hex, base64 or @FILE")
        parser.add_argument(f"--{role}-psk-id", metavar="TEXT", help="the name of its key, sent in IDRpsk")
    for word, text in (
        ("kms", "the KMS's certificate, for the public-key variants"),
        ("initiator", "the Initiator's private key and certificate, in one file"),
        ("responder", "the Responder's private key and certificate"),
        ("revoked", "a private key of the Initiator, with a certificate that is revoked"),
    ):
        parser.add_argument(f"--{word}-cert", type=Path, metavar="PEM", help=text)
    for word, text in (
        ("ticket-key", "the key that the user agent and its KMS share, for tickets that it opens itself"),
        ("initiator-ticket-key", "the key that the user agent and the caller share, for the same"),
    ):
        parser.add_argument(f"--{word}", metavar="KEY", help=f"{text}: hex, base64 or @FILE")
        parser.add_argument(f"--{word}-id", metavar="HEX", help="the name of that key in the ticket")
    parser.add_argument("--certificates", type=Path, metavar="DIR",
                        help="certificates for the user agent, made where DIR has none")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Test what the options name and say what came out."""
    output = Output(as_json=args.json)
    if args.list:
        for item in _KMS_ITEMS:
            _tell_requirement(output, item)
        for each in _AGENT_ITEMS:
            _tell_requirement(output, each)
        return ExitCode.OK
    return _test_kms(args, output) if args.kms else _test_agent(args, output)


def _test_kms(args: argparse.Namespace, output: Output) -> int:
    items = select(_KMS_ITEMS, args.only)
    initiator, responder = _party(args, "initiator"), _party(args, "responder")
    if initiator is None or responder is None:
        raise LocalError("a KMS is tested with two subscribers: --initiator and --responder, each with -psk")
    subject = KmsSubject(
        env=environment(),
        post=poster(args.kms, ca_file=args.ca),
        kms=args.kms_identity or f"sip:kms@{initiator.uri.rpartition('@')[2]}",
        initiator=initiator,
        responder=responder,
        stranger=_party(args, "stranger"),
        certified=_certified(args, initiator.uri),
        suite=SUITE_256 if args.suite == "256" else SUITE_128,
    )
    _reach(subject)
    return _report(args, output, args.kms, run_suite(items, subject))


def _reach(subject: KmsSubject) -> None:
    try:
        subject.post("ticketrequest", b"\0")
    except OSError as error:
        raise CommandFailed(str(error), code=ExitCode.KMS, reason="kms-unreachable") from error


def _test_agent(args: argparse.Namespace, output: Output) -> int:
    items = select(_AGENT_ITEMS, args.only)
    match = _AGENT.fullmatch(args.agent)
    if match is None:
        raise LocalError(f"{args.agent} is not the URI of a user agent: sip:USER@HOST[:PORT]")
    responder = _party(args, "responder", uri=args.responder or match["uri"])
    if responder is None:
        raise LocalError("the key that the user agent shares with its KMS is needed: --responder-psk")
    target = (match["host"].strip("[]"), int(match["port"] or 5060))
    with contextlib.ExitStack() as stack:
        agent = _agent_subject(args, match["host"], responder, target, stack)
        return _report(args, output, args.agent, run_suite(items, agent))


def _agent_subject(
    args: argparse.Namespace,
    domain: str,
    responder: Party,
    target: tuple[str, int],
    stack: contextlib.ExitStack,
) -> AgentSubject:
    """Return the user agent at *target*; its KMS, and the party that calls it, run until *stack* closes."""
    env = environment()
    initiator = _party(args, "initiator") or Party(
        uri=f"sip:conformance@{domain}", key=Secret(env.random(32)), key_id=b"conformance"
    )
    identity = canonical(args.kms_identity or f"sip:kms@{domain}")
    certificates = (
        None
        if args.certificates is None
        else kept_domain(args.certificates, identity, responder.uri, env.now_ns())
    )
    own_key = TicketProtectionKey(key=Secret(env.random(32)), key_id=env.random(8))
    kms = BrokenKms(
        env=env,
        folder=Path(stack.enter_context(tempfile.TemporaryDirectory())),
        identity=identity,
        parties=(initiator, responder),
        authority=None if certificates is None else certificates.authority,
        ticket_key=own_key,
    )
    door = Door(kms.answer)
    url = stack.enter_context(serving(lambda name: None if name else door, *_address(args.kms_listen)))
    print(f"the user agent's KMS: {url}, identity {identity}", file=sys.stderr, flush=True)
    caller = Caller(responder.uri, target)
    stack.callback(caller.close)
    agent = AgentSubject(
        kms=KmsSubject(
            env=env,
            post=kms.answer,
            kms=identity,
            initiator=initiator,
            responder=responder,
            certified=None if certificates is None else certificates.certified,
            suite=SUITE_256 if args.suite == "256" else SUITE_128,
        ),
        dial=caller.dial,
        door=door,
        address=caller.address,
        ticket_key=_ticket_key(args, "ticket_key"),
        initiator_ticket_key=_ticket_key(args, "initiator_ticket_key"),
        kms_ticket_key=own_key,
        pair=None if certificates is None else certificates.authority.kms,
    )
    stack.callback(agent.close)
    return agent


def _ticket_key(args: argparse.Namespace, word: str) -> TicketProtectionKey | None:
    """Return a key that seals tickets, as the options give it, or None."""
    text, key_id = getattr(args, word), getattr(args, f"{word}_id")
    if text is None:
        return None
    option = f"--{word.replace('_', '-')}"
    try:
        named = None if key_id is None else bytes.fromhex(key_id)
    except ValueError:
        raise LocalError(f"{option}-id {key_id} is not hexadecimal") from None
    return TicketProtectionKey(key=read_key_option(text, option), key_id=named)


def _party(args: argparse.Namespace, role: str, *, uri: str | None = None) -> Party | None:
    """Return the subscriber that the options give, None without a key for it."""
    name, key, key_id = (getattr(args, f"{role}{end}") for end in ("", "_psk", "_psk_id"))
    name = name or uri
    if key is None:
        return None
    if name is None:
        raise LocalError(f"--{role}-psk needs --{role}")
    return Party(
        uri=canonical(name),
        key=read_key_option(key, f"--{role}-psk"),
        key_id=None if key_id is None else key_id.encode(),
    )


def _certified(args: argparse.Namespace, initiator: str) -> CertifiedParties | None:
    """Return the certificates that the options give, None without any."""
    needed = {"kms": args.kms_cert, "initiator": args.initiator_cert, "responder": args.responder_cert}
    if not any(needed.values()):
        return None
    for word, path in needed.items():
        if path is None:
            raise LocalError(f"the public-key variants need --{word}-cert as well")
    of_kms = read_certificates(args.kms_cert)
    first = read_holder(args.initiator_cert, of_kms)
    return CertifiedParties(
        initiator=first,
        responder=read_holder(args.responder_cert, of_kms),
        untrusted=untrusted_copy(first, initiator, environment().now_ns()),
        revoked=None if args.revoked_cert is None else read_holder(args.revoked_cert, of_kms),
    )


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise LocalError(f"{text} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _tell_requirement(output: Output, item: Requirement[Subject]) -> None:
    output.document(
        {
            "type": "requirement",
            "name": item.name,
            "side": item.side,
            "section": item.section,
            "level": item.level,
            "text": item.text,
        }
    )
    output.text(f"{item.side:5} {item.name:36} {item.level:6} {item.section:14} {item.text}")


def _report(args: argparse.Namespace, output: Output, target: str, results: Iterator[Result]) -> int:
    paint = output.paint
    words = {
        "met": paint.good("met     "),
        "broken": paint.bad("BROKEN  "),
        "warning": paint("33", "warning "),
        "untested": paint.faint("untested"),
    }
    kept: list[Result] = []
    for result in results:
        kept.append(result)
        output.document(document(result))
        output.text(
            f"{words[result.outcome]} {result.name:36} {paint.faint(result.section):14} {result.text}"
        )
        if result.detail:
            output.text(f"{'':9}{result.detail}")
    total = counts(kept)
    output.document({"type": "summary", "target": target, **total})
    output.text(", ".join(f"{number} {name}" for name, number in total.items()))
    if args.junit is not None:
        _write(args.junit, junit(kept, target))
    return _exit_code(kept, agent=args.agent is not None)


def _exit_code(results: Sequence[Result], *, agent: bool) -> int:
    outcomes = {result.outcome for result in results}
    if "broken" in outcomes:
        return BROKEN
    if outcomes == {"untested"}:
        return ExitCode.TRANSPORT if agent else ExitCode.KMS
    return ExitCode.OK


def _write(path: Path, octets: bytes) -> None:
    try:
        path.write_bytes(octets)
    except OSError as error:
        raise LocalError(f"--junit {path}: {error.strerror}") from None
