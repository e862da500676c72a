"""`sipmikey vectors serve`: a KMS and a user agent that misbehave on request, to test others against."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import signal
import tempfile
import threading
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import Output
from sipmikey.conformance.authority import CertifiedDomain, write_holder
from sipmikey.conformance.broken import agent as broken_agent
from sipmikey.conformance.broken import kms as broken_kms
from sipmikey.conformance.broken.catalogue import Catalogue
from sipmikey.conformance.http import serving
from sipmikey.conformance.kms_subject import Party
from sipmikey.conformance.sip_udp import answering
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.shared_keys import SharedTicketKey

USERS = ("alice", "bob", "carol")
"""Subscribers; their keys are the SHA-256 digests of their names, known to everybody."""

EXAMPLES = """\
examples:
  sipmikey vectors serve                        a KMS on 127.0.0.1:8080 and bob on 127.0.0.1:5060
  sipmikey vectors serve --break request-resp-mac-alone
  sipmikey vectors serve --list                 name every break

Every break is there at once. A client chooses one by the KMS's URL, a caller by a parameter of the URI:
  http://127.0.0.1:8080/request-resp-mac-alone
  sip:bob@127.0.0.1:5060;break=answer-no-randrr
Without one, all requirements are kept, or the one that --break names is broken. A client that keeps RFC 6043
refuses what such a KMS or user agent sends; those called takes-... take what should be refused.

With --certificates DIR the KMSs take the public-key variants as well: alice.pem, bob.pem and revoked.pem (of
alice) hold a private key and its certificate, kms.pem the certificate of the KMS.

The subscribers are alice, bob and carol of --domain. Their keys are public and protect nothing: the SHA-256
digest of the name (`printf alice | sha256sum`), and the name is the key's name too. Bob opens tickets that
the KMS seals with the digest of bob-kms, and those that alice seals with the digest of alice-bob.
"""


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action `serve`."""
    command = actions.add_parser(
        "serve",
        help="serve a KMS and a user agent that misbehave on request",
        description="Serve a KMS and a user agent (bob) that break a requirement on request.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--kms", default="127.0.0.1:8080", metavar="HOST:PORT", help="where the KMS listens")
    command.add_argument("--agent", default="127.0.0.1:5060", metavar="HOST:PORT", help="where bob listens")
    command.add_argument("--domain", default="example.com", help="domain of the subscribers and the KMS")
    command.add_argument("--break", dest="broken", default="", metavar="NAME", help="break this by default")
    command.add_argument(
        "--certificates", type=Path, metavar="DIR",
        help="take the public-key variants too, and write keys and certificates to DIR",
    )  # fmt: skip
    command.add_argument("--list", action="store_true", help="name every break and stop")
    command.add_argument("--json", action="store_true", help="one JSON document a line")


def run(args: argparse.Namespace, output: Output) -> int:
    """Serve until interrupted."""
    if args.list:
        for side, breaks in (("kms", broken_kms.BREAKS), ("agent", broken_agent.BREAKS)):
            for name, text in breaks.items():
                output.document({"type": "break", "side": side, "name": name, "text": text})
                output.text(f"{side:5} {name:30} {text}")
        return ExitCode.OK
    if args.broken and args.broken not in {**broken_kms.BREAKS, **broken_agent.BREAKS}:
        raise LocalError(f"there is no break {args.broken!r}; --list names them")
    parties = tuple(
        Party(
            uri=f"sip:{name}@{args.domain}",
            key=Secret(hashlib.sha256(name.encode()).digest()),
            key_id=name.encode(),
        )
        for name in USERS
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        catalogue = Catalogue(
            env=environment(),
            folder=Path(stack.enter_context(tempfile.TemporaryDirectory())),
            identity=f"sip:kms@{args.domain}",
            parties=parties,
            broken=args.broken,
            ticket_keys=tuple(
                SharedTicketKey(
                    owner=f"sip:{owner}@{args.domain}",
                    tpk=TicketProtectionKey(key=Secret(hashlib.sha256(name).digest()), key_id=name),
                )
                for owner, name in (("kms", b"bob-kms"), ("alice", b"alice-bob"))
            ),
            domain=None if args.certificates is None else _certified(args.certificates, args.domain),
        )
        url = stack.enter_context(serving(catalogue.kms, *_address(args.kms)))
        host, port = _address(args.agent)
        port = stack.enter_context(answering(catalogue.agent, host, port))
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        output.document(
            {"type": "ready", "kms": url, "identity": catalogue.identity, "agent": f"sip:bob@{where}"}
        )
        output.text(f"KMS {catalogue.identity} at {url}, {parties[1].uri} at {where}: Ctrl-C ends both")
        ended.wait()
    return ExitCode.OK


def _certified(folder: Path, domain: str) -> CertifiedDomain:
    """Make certificates and write them to *folder*: kms.pem, and the others with their private keys."""
    kms, alice, bob = (f"sip:{name}@{domain}" for name in ("kms", "alice", "bob"))
    made = CertifiedDomain.make(kms, alice, bob, environment().now_ns())
    revoked = made.certified.revoked
    assert revoked is not None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "kms.pem").write_bytes(made.authority.kms.certificate.public_bytes(Encoding.PEM))
        for name, holder in (
            ("alice", made.certified.initiator),
            ("bob", made.certified.responder),
            ("revoked", revoked),
        ):
            write_holder(folder / f"{name}.pem", holder)
    except OSError as error:
        raise LocalError(f"--certificates {folder}: {error.strerror}") from None
    return made


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise LocalError(f"{text} is not HOST:PORT")
    return host.strip("[]"), int(port)
