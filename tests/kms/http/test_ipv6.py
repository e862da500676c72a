"""The KMS and its HTTP client over IPv6: plain on ::1, TLS by address, several workers, metrics."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from pathlib import Path

import pytest

from sipmikey.cli.main import main
from sipmikey.kms.client import ClientTls, HttpKmsClient, KmsUnreachable
from tests.kms.http.serving import ALICE, BOB, KMS, Authority, Service, Site, serving
from tests.networks import needs_ipv6

pytestmark = needs_ipv6

ANY_PORT = ("--listen", "[::1]:0")


def call(site: Site, service: Service, tls: ClientTls | None = None) -> None:
    """Let alice get a ticket for a call to bob, and bob resolve it."""
    alice, bob = site.add(ALICE), site.add(BOB)

    async def body() -> None:
        async with HttpKmsClient(service.url, tls=tls) as client:
            request = alice.request(BOB)
            grant = request.receive(await client.request(request.message))
            resolve = bob.resolve(grant, alice)
            assert resolve.receive(await client.request(resolve.message)).policy.initiator == ALICE

    asyncio.run(body())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_ticket_is_fetched_and_resolved(tmp_path: Path, workers: int) -> None:
    site = Site(tmp_path / "site")
    with serving(site, *ANY_PORT, "--workers", workers, "--metrics", "[::1]:0") as service:
        assert re.fullmatch(r"http://\[::1\]:[0-9]+", service.url)
        call(site, service)
        assert re.fullmatch(r"http://\[::1\]:[0-9]+/metrics", service.metrics_url or "")
        assert service.get("/health/ready")[0] == 200


def test_tls_names_an_ipv6_address(tmp_path: Path) -> None:
    """The certificate is for ::1; one for 127.0.0.1 is not trusted."""
    authority = Authority()
    ca = ClientTls(ca_file=authority.write(tmp_path / "ca.pem"))
    for address in ("::1", "127.0.0.1"):
        directory = tmp_path / address
        directory.mkdir()
        certificate, key = directory / "kms.pem", directory / "kms.key"
        authority.issue(certificate, key, address)
        site = Site(directory / "site", "--tls-cert", certificate, "--tls-key", key)
        with serving(site, *ANY_PORT) as service:
            assert service.url.startswith("https://[::1]:")
            if address == "::1":
                call(site, service, ca)
                continue
            with pytest.raises(KmsUnreachable, match=r"certificate of https://\[::1\]"):
                call(site, service, ca)


def test_probing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path / "site")
    site.add(ALICE)
    psk = next(site.directory.glob("*.psk"))
    with serving(site, *ANY_PORT) as service:
        capsys.readouterr()
        options = ["--identity", ALICE, "--psk-id", "alice", "--psk-file", str(psk), "--json"]
        assert main(["kms", "probe", "--url", service.url, "--kms", KMS, *options]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "kms.probe"


def test_who_asks_too_often_is_turned_away_and_named(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.configure("limits", address_per_second=0.01, address_burst=2)
    with serving(site, *ANY_PORT) as service:
        assert [service.post(b"\x01\x0b" + bytes(20))[0] for _ in range(3)][-1] == 429
        refused = service.await_log("refused", count=3)
        assert (refused["reason"], refused["source"]) == ("address-rate", "::1")


def test_both_families_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with serving(site, *ANY_PORT, "--listen", "127.0.0.1:0") as service:
        assert [url.rpartition(":")[0] for url in service.urls] == ["http://[::1]", "http://127.0.0.1"]
        port = int(service.urls[1].rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health/live")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_kms_that_is_not_there_is_named_in_brackets() -> None:
    with socket.socket(socket.AF_INET6) as unused:
        unused.bind(("::1", 0))
        port = unused.getsockname()[1]

        async def body() -> None:
            async with HttpKmsClient(f"http://[::1]:{port}") as client:
                with pytest.raises(KmsUnreachable, match=rf"cannot reach http://\[::1\]:{port}"):
                    await client.request(b"\x01\x0b" + bytes(20))

        asyncio.run(body())
