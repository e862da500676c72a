"""REQUEST and RESOLVE at the KMS without I/O: microseconds of one core, and where they go.

Run: python benchmarks/kms_core.py [--rounds N] [--messages N] [--profile] [--json]

Both suites, pre-shared keys, full mode with key forking; every message is answered from parsing to MAC, with
policy and audit event, by lookups in memory. Beside it, in the same rounds, the bare cryptography of a
request (4 PRF runs, 2 HMAC over 600 octets, 2 AES-CTR) as the `cryptography` package does it with kept
keys: the ratio says what the rest costs, whatever state the machine is in. --profile runs under cProfile and
says which modules take the time; the profiler itself doubles it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC

from sipmikey.keys.suite import SUITES, Suite
from sipmikey.kms.audit import AuditEvent
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.service import KeyManagementService, KmsSettings, Lookups, run
from sipmikey.kms.subscribers import Principal, PskCredential
from sipmikey.kms.tpk import TpkRecord, generate
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.mikey.verification import V
from sipmikey.system import environment
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve, make_initiator_data

KMS, ALICE, BOB = "sip:kms@example.com", "sip:alice@example.com", "sip:bob@example.com"
POLICY = """
[[rule]]
name = "colleagues"
from = ["sip:*@example.com"]
to = ["sip:*@example.com"]
decision = "allow"
"""


class Memory:
    """Lookups that cost nothing."""

    def __init__(self) -> None:
        self.keys = {name: Secret(os.urandom(32)) for name in (b"alice", b"bob")}
        people = {b"alice": ALICE, b"bob": BOB}
        self._credentials = {
            name: PskCredential(
                principal=Principal(name=name.decode(), identities=(uri,)), key=self.keys[name], key_id=name
            )
            for name, uri in people.items()
        }
        self._tpk = generate(os.urandom, now_s=int(time.time()))

    async def psk_by_key_id(self, key_id: bytes) -> PskCredential | None:
        return self._credentials.get(key_id)

    async def psks_of(self, identity: str) -> Sequence[PskCredential]:
        return ()

    async def principal_of(self, identity: str) -> Principal | None:
        return None

    async def principal_by_certificate(self, fingerprint: bytes) -> Principal | None:
        return None

    async def groups_of(self, identity: str) -> Sequence[str]:
        return ()

    async def sealing_key(self, *, owner: str | None, now_s: int, until_s: int) -> TpkRecord | None:
        return self._tpk

    async def by_id(self, key_id: bytes) -> TpkRecord | None:
        return self._tpk

    async def add(self, digest: bytes, *, stamped_s: int, expires_s: int, now_s: int) -> bool:
        return True

    async def append(self, event: AuditEvent) -> None:
        return None


class Bench:
    """The service and makers of messages for it."""

    def __init__(self, suite: Suite) -> None:
        memory = Memory()
        self._env = environment()
        self._suite = suite
        self._alice = PreSharedKey(key=memory.keys[b"alice"], key_id=b"alice")
        self._bob = PreSharedKey(key=memory.keys[b"bob"], key_id=b"bob")
        lookups = Lookups(credentials=memory, ticket_keys=memory, replay=memory, audit=memory)
        self._service = KeyManagementService(
            self._env, KmsSettings(identity=KMS), parse_policy(POLICY), lookups
        )
        self._policy = TicketPolicy(
            suite=suite,
            flags=TicketFlags.of("DEFGHINO"),
            responders=(BOB,),
            kms=KMS,
            initiator=ALICE,
            requested_keys=(RequestedKey(length=suite.key_length),),
            valid_until=Timestamp.ntp_utc_32(int(time.time()) + 3600),
        )
        request = self._request()
        grant = request.receive(run(self._service.handle(request.message)).body or b"")
        assert grant.mpk_r is not None
        vi = V(auth_alg=suite.mac_alg, mac=bytes(suite.mac_alg.length))
        self._ticket = replace(grant.ticket, initiator_data=make_initiator_data(suite, vi, grant.mpk_r))

    def _request(self) -> TicketRequest:
        return TicketRequest.start(
            self._env, policy=self._policy, credential=self._alice, identity=ALICE, kms=KMS
        )

    def requests(self, count: int) -> list[bytes]:
        return [self._request().message for _ in range(count)]

    def resolves(self, count: int) -> list[bytes]:
        return [
            TicketResolve.start(
                self._env, ticket=self._ticket, credential=self._bob, identity=BOB, kms=KMS
            ).message
            for _ in range(count)
        ]

    def answer(self, messages: list[bytes]) -> None:
        handle = self._service.handle
        for message in messages:
            if not run(handle(message)).granted:
                raise SystemExit("a message was refused")


def crypto_floor(count: int) -> None:
    """4 PRF runs (2 HMACs each), 2 HMAC-SHA-256 over 600 octets and 2 AES-CTR over 64, keys kept."""
    mac = HMAC(bytes(32), hashes.SHA256())
    label, text = bytes(60), bytes(600)
    for _ in range(count):
        for data in (label,) * 8 + (text,) * 2:
            running = mac.copy()
            running.update(data)
            running.finalize()
        for _ in range(2):
            Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor().update(bytes(64))


def timed(work: Callable[[], None], count: int) -> float:
    """Return microseconds of CPU for each of *count*."""
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e6 / count


def measure(rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Return median, least and greatest microseconds of each kind, measured in turn in each round."""
    benches = {word: Bench(suite) for word, suite in SUITES.items()}
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        found.setdefault("crypto floor", []).append(timed(lambda: crypto_floor(count), count))
        for word, bench in benches.items():
            for kind, make in (("REQUEST", bench.requests), ("RESOLVE", bench.resolves)):
                messages = make(count)
                spent = timed(lambda bench=bench, messages=messages: bench.answer(messages), count)  # type: ignore[misc]
                found.setdefault(f"{kind} {word}", []).append(spent)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in found.items()
    }


def profile(count: int) -> None:
    """Print the share of each module in the time, for requests and resolves of the 256-bit suite."""
    bench = Bench(SUITES["256"])
    for kind, messages in (("REQUEST", bench.requests(count)), ("RESOLVE", bench.resolves(count))):
        profiler = cProfile.Profile()
        profiler.runcall(bench.answer, messages)
        shares = by_module(pstats.Stats(profiler))
        total = sum(shares.values())
        print(f"\n{kind}: share of time by module, what it calls outside the package included")
        for name, seconds in shares.most_common(16):
            print(f"  {100 * seconds / total:5.1f} %  {name}")


def by_module(stats: pstats.Stats) -> Counter[str]:
    """Return seconds by module of the package; what is outside counts for its callers."""

    def module(path: str) -> str | None:
        _, found, tail = path.rpartition("/sipmikey/")
        return tail if found else None

    shares: Counter[str] = Counter()
    for (path, _, _), (_, _, own, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        name = module(path)
        if name is not None:
            shares[name] += own
            continue
        for (caller, _, _), called in callers.items():
            shares[module(caller) or "elsewhere"] += called[2]
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--messages", type=int, default=400, metavar="N", help="of each kind in a round")
    parser.add_argument("--profile", action="store_true", help="say which modules take the time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = measure(args.rounds, args.messages)
    if args.json:
        print(json.dumps(figures))
    else:
        print(f"{'us of CPU each':16s} {'median':>8s} {'min':>8s} {'max':>8s}")
        for name, row in figures.items():
            print(f"{name:16s} {row['median']:8.1f} {row['min']:8.1f} {row['max']:8.1f}")
    if args.profile:
        profile(args.messages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
