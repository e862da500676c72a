"""A call between two domains, each with its KMS: the callee asks its own, which passes the ticket on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from sipmikey.testing.program import run
from tests.cli.commands import Start
from tests.interop.modes.certificates import issue, make_root
from tests.kms.http.serving import ALICE, KMS, Service, Site
from tests.kms.http.test_forwarding import BOB, OTHER_KMS, Pair


def options(identity: str, site: Site, service: Service, pair: Pair, proxy: str, config: Path) -> list[str]:
    """Options of an agent that knows its own KMS only, and has a key there unless *config* says otherwise."""
    words = {
        "--config": str(config), "--identity": identity, "--kms": service.url,
        "--kms-identity": site.identity, "--kms-ca": str(pair.ca),
        "--listen": "127.0.0.1:0", "--registrar": proxy, "--proxy": proxy,
    }  # fmt: skip
    return ["--null-audio", "--json", *(text for pair in words.items() for text in pair)]


def configure(folder: Path, name: str, **kms: object) -> Path:
    """Write a configuration file with these values of its section ``kms``."""
    path = folder / f"{name}.toml"
    lines = [f"{key} = {_toml(value)}" for key, value in kms.items()]
    path.write_text("\n".join(["[kms]", *lines, ""]))
    path.chmod(0o600)
    return path


def _toml(value: object) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in value.items())
        return f"{{ {pairs} }}"
    return json.dumps(value)


def prepared(mode: str, pair: Pair, folder: Path) -> Path:
    """Have alice call in *mode*; return her configuration file."""
    psk = {"psk_file": str(pair.issuer.directory / "0.psk"), "psk_id": "alice"}
    if mode == "otway-rees":
        words = ("kms", "tpk", "share", "--dir", pair.issuer.directory, "--json", ALICE)
        shared = json.loads(run(*words, "--tpk-file", folder / "a.tpk").stdout)
        keys = {"ticket_keys": {KMS: str(folder / "a.tpk")}, "ticket_key_ids": {KMS: shared["key_id"]}}
        return configure(folder, "alice", mode=mode, **keys, **psk)
    if mode == "full-pk":
        make_root(folder)
        of_kms, own = issue(folder, "kms", KMS, "root"), issue(folder, "alice", ALICE, "root")
        pair.issuer.configure(
            "public_key", certificate=str(of_kms), private_key=str(of_kms.with_suffix(".key")),
            trust_anchors=str(folder / "root.pem"),
        )  # fmt: skip
        return configure(
            folder, "alice", certificate=str(own), private_key=str(own.with_suffix(".key")),
            kms_certificates=str(of_kms),
        )  # fmt: skip
    return configure(folder, "alice", **psk)


@pytest.mark.interop
@pytest.mark.parametrize("mode", ["full", "full-pk", "otway-rees"])
def test_a_call_between_two_domains_from_the_command_line(
    mode: str, command: Start, forking_proxy: Kamailio, tmp_path: Path
) -> None:
    pair = Pair(tmp_path)
    alices = prepared(mode, pair, tmp_path)
    bobs = configure(tmp_path, "bob", psk_file=str(pair.relay.directory / "0.psk"), psk_id="bob")
    with pair.running(OTHER_KMS) as (issuer, relay):
        bob = command(
            "answer", "--auto", "--once", *options(BOB, pair.relay, relay, pair, forking_proxy.uri, bobs)
        )
        bob.until("agent.ready")
        alice = command(
            "call",
            BOB,
            "--duration",
            "1",
            *options(ALICE, pair.issuer, issuer, pair, forking_proxy.uri, alices),
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
    requests = [event["exchange"] for event in alice.seen if event["type"] == "kms.request"]
    assert requests == ([] if mode == "otway-rees" else ["ticket-request"])
