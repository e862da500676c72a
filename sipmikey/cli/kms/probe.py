"""`sipmikey kms probe`: a ticket asked for and resolved, as a user would, to see that a KMS works."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.kms.common import Actions, output
from sipmikey.cli.output import complain
from sipmikey.key_file import read_key_file
from sipmikey.keys.suite import SUITE_256
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.system import environment
from sipmikey.ticket import PreSharedKey, RequestedKey, TicketPolicy, TicketRequest, TicketResolve

EXAMPLES = """\
  sipmikey kms probe --url http://127.0.0.1:8043 --kms sip:kms@example.com \\
      --identity sip:alice@example.com --psk-id alice --psk-file alice.psk
  sipmikey kms probe --url https://kms.example.com --ca ca.pem --kms sip:kms@example.com \\
      --identity sip:probe@example.com --psk-id probe --psk-file probe.psk --json

exit code 0: granted and resolved; 4: refused or not reached
"""

FLAGS = TicketFlags.of("DEFGJNO")
"""Without key forking, so that the ticket resolves without a call that it protects."""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `probe`."""
    parser = actions.add_parser(
        "probe",
        help="ask a running KMS for a ticket and resolve it",
        description="Ask a running KMS for a ticket for oneself, resolve it, and say how long that took.",
        epilog=f"examples:\n{EXAMPLES.rstrip()}\n\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="base URL of the KMS")
    parser.add_argument("--kms", required=True, metavar="URI", help="identity of the KMS")
    parser.add_argument("--identity", required=True, metavar="URI", help="subscriber to ask as")
    parser.add_argument("--psk-id", required=True, metavar="NAME", help="name of its pre-shared key")
    parser.add_argument("--psk-file", required=True, type=Path, metavar="FILE", help="file with its key")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="CA certificates instead of the system's")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="(default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    parser.set_defaults(kms_run=_run)


def _run(args: argparse.Namespace) -> int:
    return asyncio.run(_probe(args))


async def _probe(args: argparse.Namespace) -> int:
    # Loaded late, as the HTTP client would make every other command slow to start.
    from sipmikey.kms.client import ClientTls, HttpKmsClient

    env = environment()
    identity, kms = normal_identity(args.identity), normal_identity(args.kms)
    credential = PreSharedKey(key=read_key_file(args.psk_file, "--psk-file"), key_id=args.psk_id.encode())
    policy = TicketPolicy(
        suite=SUITE_256,
        flags=FLAGS,
        responders=(identity,),
        kms=kms,
        initiator=identity,
        requested_keys=(RequestedKey(length=SUITE_256.key_length),),
    )
    client = HttpKmsClient(args.url, tls=ClientTls(ca_file=args.ca), timeout_s=args.timeout)
    try:
        async with client:
            began = time.perf_counter()
            request = TicketRequest.start(
                env, policy=policy, credential=credential, identity=identity, kms=kms
            )
            grant = request.receive(await client.request(request.message))
            granted = time.perf_counter()
            resolve = TicketResolve.start(
                env, ticket=grant.ticket, credential=credential, identity=identity, kms=kms
            )
            resolve.receive(await client.request(resolve.message))
            resolved = time.perf_counter()
    except PeerError as error:
        complain(str(error), as_json=args.json, code=ExitCode.KMS, reason=error.reason)
        return ExitCode.KMS
    out = output(args)
    request_ms, resolve_ms = (granted - began) * 1e3, (resolved - granted) * 1e3
    out.document(
        {
            "type": "kms.probe",
            "ticket": grant.ticket_id,
            "request_ms": round(request_ms, 2),
            "resolve_ms": round(resolve_ms, 2),
        }
    )
    out.text(f"ticket {grant.ticket_id} granted in {request_ms:.1f} ms, resolved in {resolve_ms:.1f} ms")
    return ExitCode.OK
