"""A call between two domains, each with its KMS: the callee asks its own, which passes the ticket on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from tests.cli.commands import Start
from tests.kms.http.serving import ALICE, KMS, Service, Site
from tests.kms.http.test_forwarding import BOB, OTHER_KMS, Pair


def options(identity: str, site: Site, service: Service, pair: Pair, proxy: str, **more: str) -> list[str]:
    """Options of an agent that knows its own KMS only."""
    words = {
        "--identity": identity, "--kms": service.url, "--kms-identity": site.identity,
        "--psk-id": identity.partition(":")[2].partition("@")[0], "--psk-file": str(site.directory / "0.psk"),
        "--kms-ca": str(pair.ca), "--listen": "127.0.0.1:0", "--registrar": proxy, "--proxy": proxy,
    }  # fmt: skip
    return ["--null-audio", "--json", *(text for pair in words.items() for text in pair)]


@pytest.mark.interop
def test_a_call_between_two_domains_from_the_command_line(
    command: Start, forking_proxy: Kamailio, tmp_path: Path
) -> None:
    pair = Pair(tmp_path)
    with pair.running(OTHER_KMS) as (issuer, relay):
        bob = command("answer", "--auto", "--once", *options(BOB, pair.relay, relay, pair, forking_proxy.uri))
        bob.until("agent.ready")
        alice = command(
            "call", BOB, "--duration", "1", *options(ALICE, pair.issuer, issuer, pair, forking_proxy.uri)
        )
        assert alice.finish() == 0, (bob.finish(), bob.seen[-4:], bob.stderr)
        assert bob.finish() == 0, bob.stderr
    ends = {"alice": alice.last("call.end")["security"], "bob": bob.last("call.end")["security"]}
    assert (ends["alice"]["peer"], ends["bob"]["peer"]) == (BOB, ALICE)
    assert {end["media"] for end in ends.values()} == {"proven"}
    assert {end["kms"] for end in ends.values()} == {KMS}, "the KMS that made the ticket vouches"
    asked = bob.last("kms.request")
    assert (asked["exchange"], asked["kms"]) == ("ticket-resolve", OTHER_KMS), "bob asks his own KMS"
    assert bob.last("kms.response")["kms"] == OTHER_KMS
