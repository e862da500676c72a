"""Set-up time of a call in each mode of MIKEY-TICKET, beside plain RTP and SDES, in one run.

    python benchmarks/call_setup/modes.py [--calls 20] [--json]

Caller, callee and KMS are processes of their own on loopback, as in run.py. The modes take turns, ten calls
at a time. Times are in milliseconds from the user's wish to call to the caller's confirmation. Tickets are
for one call each, so that every call asks what its mode asks; in the line `kept` both keep one ticket.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from run import OFF, ROUND, AgentPair, Summary, bare_calls

from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.keys.certificates import certificate, key_usage, rsa_key

Keys = Mapping[str, Any]

POLICY = """
[limits.default]

[limits.kerberos]
ticket_key = "responder"
flags = { resolve_mandatory = "allowed", key_forking = "forced-off" }

[[rule]]
name = "bob opens the tickets for kerberos calls himself"
from = ["sip:karl@example.test"]
to = ["*"]
decision = "allow"
limits = "kerberos"

[[rule]]
name = "all"
from = ["*"]
to = ["*"]
decision = "allow"
"""


class Modes:
    """A KMS for all modes, and what agents are told for each. *folder* holds the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kms = Kms(folder / "kms")
        self._certificates(folder)
        for user in ("alice", "karl", "bob"):
            self.kms.add_user(user, "--certificate", str(folder / f"{user}.pem"))
        self.kms.set_policy(POLICY)
        shared = {user: self.kms.run("tpk", "share", uri(user)) for user in ("alice", "bob")}
        own = {"owner": uri("bob"), "key": bytes(range(32)).hex()}
        self.of_caller = {user: _ticket_key(IDENTITY, found) for user, found in shared.items()}
        once: Keys = {"reuse": False}
        kept: Keys = {"reuse": True, "keep_resolved": True}
        at_bob = [self.of_caller["bob"], {**own, "owner": uri("alice")}]
        pk = {user: {"psk": "", "certificate": self._pem(user)} for user in ("alice", "bob")}
        otway = {"mode": "otway-rees", "ticket_keys": [self.of_caller["alice"]]}
        self.all: dict[str, tuple[str, Keys, Keys]] = {
            "full": ("alice", once, once),
            "full, certificates": ("alice", {**once, **pk["alice"]}, {**once, **pk["bob"]}),
            "kerberos": ("karl", {**once, "mode": "kerberos"}, {"ticket_keys": at_bob}),
            "otway-rees": ("alice", {**once, **otway}, once),
            "preshared": (
                "alice",
                {**once, "mode": "preshared", "ticket_keys": [own]},
                {"ticket_keys": at_bob},
            ),
            "full, kept": ("alice", kept, kept),
        }

    def _pem(self, user: str) -> dict[str, str]:
        paths = {"certificate": f"{user}.pem", "private_key": f"{user}.key", "kms_certificates": "kms.pem"}
        return {name: str(self._folder / path) for name, path in paths.items()}

    def _certificates(self, folder: Path) -> None:
        times = {
            "not_before": datetime.now(UTC) - timedelta(days=1),
            "not_after": datetime.now(UTC) + timedelta(days=9),
        }
        root = certificate("root", "root", ca=True, **times)
        (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
        for name, identity in (("kms", IDENTITY), *((user, uri(user)) for user in ("alice", "karl", "bob"))):
            usage = key_usage("digital_signature", "key_encipherment")
            made = certificate(name, "root", uris=(identity,), usage=usage, **times)
            (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
            key = rsa_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (folder / f"{name}.key").write_bytes(key)
        with (self.kms.directory / "kms.toml").open("a") as file:
            file.write(
                f'\n[public_key]\ncertificate = "{folder / "kms.pem"}"\n'
                f'private_key = "{folder / "kms.key"}"\n'
                f'trust_anchors = "{folder / "root.pem"}"\n'
            )

    def calls(self, mode: str, count: int) -> list[float]:
        """Return the set-up times of *count* calls in *mode*, after one that is not counted."""
        user, caller, callee = self.all[mode]
        with ExitStack() as running:
            pair = ModePair(running, self.kms, user, caller, callee)
            pair.call(prefetch=False)
            return [pair.call(prefetch=False)["dialled"] for _ in range(count)]


class ModePair(AgentPair):
    """Two agents whose sides are told different things."""

    def __init__(self, running: ExitStack, kms: Kms, user: str, caller: Keys, callee: Keys) -> None:
        udp = {"transports": ["udp"]}
        self.callee = running.enter_context(Agent("callee", settings("bob", kms, sip=udp, keys=callee)))
        self.caller = running.enter_context(
            Agent("caller", settings(user, kms, peer=self.callee, sip=udp, keys=caller))
        )


def _ticket_key(owner: str, shared: Mapping[str, Any]) -> dict[str, str]:
    return {"owner": owner, "key": base64.b64decode(shared["tpk"]).hex(), "key_id": shared["key_id"]}


def measure(calls: int) -> dict[str, Summary]:
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        modes = Modes(Path(directory))
        running.enter_context(modes.kms)
        for done in range(0, calls, ROUND):
            batch = min(ROUND, calls - done)
            times["bare, RTP"] += bare_calls("rtp", batch)
            times["bare, SDES"] += bare_calls("sdes", batch)
            with ExitStack() as pair:
                clear = AgentPair(pair, modes.kms, **OFF)
                clear.call(prefetch=False)
                times["agent, RTP"] += [clear.call(prefetch=False)["dialled"] for _ in range(batch)]
            for mode in modes.all:
                times[f"agent, {mode}"] += modes.calls(mode, batch)
            print(f"{done + batch} of {calls} calls of each kind", file=sys.stderr)
    return {name: Summary.of(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=20, help="calls of each kind (default: 20)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments = parser.parse_args()
    result = measure(arguments.calls)
    if arguments.json:
        plain = {
            name: {"calls": found.calls, "median_ms": found.median, "p95_ms": found.p95}
            for name, found in result.items()
        }
        print(json.dumps(plain, indent=2))
        return
    sdes = result["bare, SDES"].median
    print(f"{'set-up':28} {'calls':>6} {'median':>9} {'p95':>9}  ms   median / SDES")
    for name, found in result.items():
        print(f"{name:28} {found.calls:6} {found.median:9.2f} {found.p95:9.2f}  {found.median / sdes:17.1f}")


if __name__ == "__main__":
    main()
