"""Two KMSs: a resolve for a ticket of the other is passed on over mutually authenticated TLS (section 10)."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipmikey.cli.main import main
from sipmikey.mikey.errors import PeerError
from sipmikey.ticket import TicketGrant
from tests.kms.http.serving import (
    ALICE,
    KMS,
    TICKET_REQUEST,
    TICKET_RESOLVE,
    Authority,
    Service,
    Site,
    Subscriber,
    command,
    serving,
)

OTHER_KMS, BOB = "sip:kms@example.org", "sip:bob@example.org"


class Pair:
    """alice's KMS, which issues, and bob's, which passes on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        self.ca = self.authority.write(directory / "ca.pem")
        for name in ("issuer", "relay"):
            self.authority.issue(directory / f"{name}.pem", directory / f"{name}.key", "127.0.0.1")
        self.issuer, self.relay = self._site("issuer", KMS), self._site("relay", OTHER_KMS)
        self.issuer.edit("[tls]", f'[tls]\nclient_ca = "{self.ca}"\nclient_certificates = "optional"')
        self.alice, self.bob = self.issuer.add(ALICE), self.relay.add(BOB)
        self.shared = self.issuer.add(OTHER_KMS, "--vouches-for", "sip:*@example.org", name="kms-b")
        shutil.copy(self.issuer.directory / "1.psk", self.relay.directory / "peer.key")

    def _site(self, name: str, identity: str) -> Site:
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        return Site(self.directory / name, "--tls-cert", certificate, "--tls-key", key, identity=identity)

    @contextmanager
    def running(self, *names: str, authority: Authority | None = None) -> Iterator[tuple[Service, Service]]:
        """Serve both; the relay shows the issuer a certificate for *names*."""
        certificate, key = self.directory / "client.pem", self.directory / "client.key"
        (authority or self.authority).issue(certificate, key, *names)
        with serving(self.issuer) as issuer:
            self.relay.configure(
                "peer_tls", ca=str(self.ca), certificate=str(certificate), private_key=str(key)
            )
            self.relay.configure(f'peers."{KMS}"', url=issuer.url, key_id="kms-b", key_file="peer.key")
            with serving(self.relay) as relay:
                yield issuer, relay

    def grant(self, issuer: Service, *responders: str) -> TicketGrant:
        request = self.alice.request(*responders)
        status, _, answer = self.post(issuer, request.message)
        assert status == 200
        return request.receive(answer)

    def post(self, service: Service, message: bytes, path: str = TICKET_REQUEST) -> tuple[int, str, bytes]:
        context = ssl.create_default_context(cafile=str(self.ca))
        status, headers, answer = service.post(message, context=context, path=path)
        return status, headers.get("kms-reason", ""), answer


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def resolved(pair: Pair, relay: Service, grant: TicketGrant) -> tuple[int, str, bytes]:
    resolve = pair.bob.resolve(grant, pair.alice, kms=OTHER_KMS)
    status, reason, answer = pair.post(relay, resolve.message, TICKET_RESOLVE)
    if status == 200:
        assert resolve.receive(answer).mpk_i == grant.mpk_i
    elif answer:
        with pytest.raises(PeerError):
            resolve.receive(answer)
    return status, reason, answer


@pytest.mark.parametrize("name", [OTHER_KMS, "example.org"])
def test_a_resolve_is_passed_on(pair: Pair, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pair.running(name) as (issuer, relay):
        grant = pair.grant(issuer, BOB)
        assert resolved(pair, relay, grant)[0] == 200
    for site, expected in (
        (pair.relay, [("resolve", "granted"), ("resolve", "forwarded")]),
        (pair.issuer, [("resolve", "granted"), ("request", "granted")]),
    ):
        capsys.readouterr()
        command("audit", "--dir", site.directory, "--json")
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        events = [event for event in events if event["exchange"] != "administration"]
        assert [(event["exchange"], event["decision"]) for event in events] == expected
        assert events[0]["ticket"] == grant.ticket_id
        assert {event["kms"] for event in events} == ({KMS} if site is pair.relay else {""})


def test_a_certificate_of_another_name_does_not_do(pair: Pair) -> None:
    with pair.running("sip:kms@example.net") as (issuer, relay):
        status, reason, _ = resolved(pair, relay, pair.grant(issuer, BOB))
        assert (status, reason) == (403, "not-authorized")


def test_a_certificate_of_a_stranger_does_not_do(pair: Pair) -> None:
    with pair.running(OTHER_KMS, authority=Authority("Strangers")) as (issuer, relay):
        status, _, _ = resolved(pair, relay, pair.grant(issuer, BOB))
        assert status == 502


def test_a_kms_key_without_its_certificate_does_not_do(pair: Pair) -> None:
    with pair.running(OTHER_KMS) as (issuer, _):
        grant = pair.grant(issuer, BOB)
        pretender = Subscriber(identity=BOB, psk=pair.shared.psk)
        resolve = pretender.resolve(grant, pair.alice)
        status, reason, _ = pair.post(issuer, resolve.message, TICKET_RESOLVE)
        assert (status, reason) == (401, "unknown-key")


def test_a_kms_that_does_not_answer_is_a_bad_gateway(pair: Pair) -> None:
    with pair.running(OTHER_KMS) as (issuer, relay):
        grant = pair.grant(issuer, BOB)
        issuer.stop()
        assert resolved(pair, relay, grant)[0] == 502


def test_a_ticket_of_an_unknown_kms_is_refused(pair: Pair) -> None:
    with pair.running(OTHER_KMS) as (issuer, _):
        grant = pair.grant(issuer, BOB)
    (pair.directory / "elsewhere").mkdir()
    elsewhere = Pair(pair.directory / "elsewhere")
    with serving(elsewhere.relay) as stranger:
        resolve = elsewhere.bob.resolve(grant, pair.alice, kms=OTHER_KMS)
        status, _, _ = elsewhere.post(stranger, resolve.message, TICKET_RESOLVE)
        assert 400 <= status < 500


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [("https:", "http:", "https"), ("[peer_tls]", "[peer_tls]\n[unused]", "unknown section")],
)
def test_a_peer_without_mutual_tls_is_a_configuration_error(
    pair: Pair, capsys: pytest.CaptureFixture[str], old: str, new: str, told: str
) -> None:
    pair.relay.configure("peer_tls", ca=str(pair.ca))
    pair.relay.configure(f'peers."{KMS}"', url="https://127.0.0.1:1", key_id="kms-b", key_file="peer.key")
    assert main(["kms", "serve", "--dir", str(pair.relay.directory), "--listen", "127.0.0.1:0"]) == 2
    assert "mutually authenticated" in capsys.readouterr().err
    pair.relay.edit(old, new)
    pair.relay.edit(
        f'ca = "{pair.ca}"', f'ca = "{pair.ca}"\ncertificate = "{pair.ca}"\nprivate_key = "{pair.ca}"'
    )
    assert main(["kms", "serve", "--dir", str(pair.relay.directory), "--listen", "127.0.0.1:0"]) == 2
    assert told in capsys.readouterr().err
