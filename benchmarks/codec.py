"""Parsing and building TRANSFER_INIT, and the whole of both sides: microseconds of one core.

Run: python benchmarks/codec.py [--rounds N] [--profile] [--json]

The message is that of a call with key forking: two crypto sessions, one security policy, a ticket with its
policy, Ticket Data and Initiator Data. Measured are reading HDR alone, parsing everything, building from the
parsed parts, what a Responder does before it asks the KMS, verifying with a resolved ticket, and making
TRANSFER_INIT with its keys and MACs. Beside them in the same rounds stands HMAC-SHA-256 over the message by
`hmac.digest`, so that figures of machines in different states can be compared. Each figure is the median of
the rounds, and the fastest, in processor time, so that other programs cost little. --profile runs parsing
and building under cProfile, which doubles the time.
"""

from __future__ import annotations

import argparse
import cProfile
import hmac
import json
import os
import pstats
import statistics
import sys
import time
from collections.abc import Callable

from sipmikey.keys.suite import SUITES, Suite
from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.header import GenericIdEntry, Header, SrtpSessionData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.system import environment
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import TicketGrant, make_ticket
from sipmikey.ticket.resolve import Modifier, ResolvedTicket, fork_keys
from sipmikey.ticket.transfer import TransferInitiator, TransferResponder

ALICE, BOB, KMS = "sip:alice@example.com", "sip:bob@example.com", "sip:kms@example.com"
ENV = environment()
BATCH = 200


def grant(suite: Suite) -> TicketGrant:
    """Return a ticket with key forking, as a KMS would make it."""
    now_s = ENV.now_ns() // 1_000_000_000
    policy = TicketPolicy(
        suite=suite,
        flags=TicketFlags.of("EFGHIJLNO"),
        responders=(BOB,),
        kms=KMS,
        initiator=ALICE,
        valid_from=Timestamp.ntp_utc_32(now_s - 60),
        valid_until=Timestamp.ntp_utc_32(now_s + 3600),
        requested_keys=(RequestedKey(length=suite.key_length),),
    )
    tpk = TicketProtectionKey(key=Secret(os.urandom(suite.key_length)), key_id=b"tpk-0001")
    return make_ticket(ENV, policy, tpk)


def start(ticket: TicketGrant) -> TransferInitiator:
    """Make TRANSFER_INIT with two crypto sessions and one policy."""
    spi = ticket.keys[0].spi or b""
    entries = (
        GenericIdEntry(cs_id=1, policies=(0,), session_data=SrtpSessionData(ssrc=0x1234).encode(), spi=spi),
        GenericIdEntry(cs_id=2, policies=(0,)),
    )
    return TransferInitiator.start(
        ENV,
        ticket,
        crypto_sessions=entries,
        policies=[SrtpPolicy.aes_cm(16).payload(0)],
        initiator=ALICE,
        responder=BOB,
    )


def resolved(ticket: TicketGrant, message: bytes) -> ResolvedTicket:
    """Return the ticket as RESOLVE_RESP gives it to the Responder."""
    early = TransferResponder(ENV, message, identity=BOB)
    assert ticket.mpk_r is not None
    modifier = Modifier(idr=early.message.payloads[3], rand_kms=os.urandom(32))  # type: ignore[arg-type]
    mpk_r, keys = fork_keys(ticket.policy.suite, ticket.mpk_r, ticket.keys, modifier)
    return ResolvedTicket(
        policy=ticket.policy,
        mpk_i=ticket.mpk_i,
        mpk_r=mpk_r,
        keys=keys,
        answerer=modifier.idr,
        modifier=modifier,
    )


def tasks(suite: Suite) -> tuple[int, dict[str, Callable[[], object]]]:
    """Return the length of the message, and what is measured by name."""
    ticket = grant(suite)
    message = start(ticket).message
    parsed = Message.parse(message)
    known = resolved(ticket, message)
    key = os.urandom(32)

    def verify() -> None:
        TransferResponder(ENV, message, identity=BOB).verify(known)

    return len(message), {
        "HMAC-SHA-256 of the message (yardstick)": lambda: hmac.digest(key, message, "sha256"),
        "read HDR": lambda: Header.decode(Reader(message), DEFAULT_LIMITS),
        "parse TRANSFER_INIT": lambda: Message.parse(message),
        "build TRANSFER_INIT from its parts": lambda: Message.build(parsed.header, parsed.payloads),
        "receive: parse and early checks": lambda: TransferResponder(ENV, message, identity=BOB),
        "receive and verify": verify,
        "make TRANSFER_INIT with keys and MACs": lambda: start(ticket),
    }


def measure(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return microseconds a run of each task, a figure a round; rounds go through all tasks in turn."""
    figures: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, task in work.items():
            begin = time.process_time_ns()
            for _ in range(BATCH):
                task()
            if number:  # the first round warms caches up
                figures[name].append((time.process_time_ns() - begin) / BATCH / 1000)
    return figures


def profile(work: dict[str, Callable[[], object]]) -> None:
    """Print where parsing and building spend their time."""
    for name in ("parse TRANSFER_INIT", "build TRANSFER_INIT from its parts", "receive and verify"):
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(2000):
            work[name]()
        profiler.disable()
        print(f"\n{name}: 2000 runs under the profiler, by own time")
        pstats.Stats(profiler, stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(12)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="measurements of each [15]")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    parser.add_argument("--json", action="store_true", help="one JSON document a figure")
    args = parser.parse_args()
    for word, suite in SUITES.items():
        length, work = tasks(suite)
        if not args.json:
            print(f"\nsuite {word}, TRANSFER_INIT of {length} octets     median   fastest  [us]")
        for name, figures in measure(work, args.rounds).items():
            median, fastest = statistics.median(figures), min(figures)
            if args.json:
                found = {"suite": word, "octets": length, "task": name}
                print(json.dumps(found | {"median_us": round(median, 2), "fastest_us": round(fastest, 2)}))
            else:
                print(f"  {name:44} {median:8.1f}  {fastest:8.1f}")
        if args.profile:
            profile(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
