"""TLS of the KMS: versions, client certificates, reload, and no plain HTTP by accident."""

from __future__ import annotations

import signal
import socket
import ssl
from pathlib import Path

import pytest

from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS
from sipmikey.cli.main import main
from tests.kms.http.serving import ALICE, BOB, Authority, Service, Site, serving


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def site(tmp_path: Path, authority: Authority) -> Site:
    authority.issue(tmp_path / "kms.pem", tmp_path / "kms.key", "127.0.0.1")
    site = Site(tmp_path / "site", "--tls-cert", tmp_path / "kms.pem", "--tls-key", tmp_path / "kms.key")
    site.add(BOB)
    return site


def trusting(authority: Authority, directory: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.write(directory / "ca.pem")))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_served(
    site: Site, authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    alice = site.add(ALICE)
    context = trusting(authority, tmp_path)
    context.minimum_version = context.maximum_version = version
    with serving(site) as service:
        request = alice.request(BOB)
        status, _, answer = service.post(request.message, context=context)
        assert status == 200
        request.receive(answer)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(site: Site, authority: Authority, tmp_path: Path) -> None:
    context = trusting(authority, tmp_path)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(site) as service, pytest.raises((ssl.SSLError, ConnectionError)):
        service.get("/health/live", context)


def served_certificate(service: Service, authority: Authority, directory: Path) -> bytes:
    with connected(service, authority, directory) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def connected(service: Service, authority: Authority, directory: Path) -> ssl.SSLSocket:
    plain = socket.create_connection(service.address, timeout=10)
    return trusting(authority, directory).wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_renewed_certificate_is_taken_up_and_a_wrong_one_is_not(
    site: Site, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "kms.pem", tmp_path / "kms.key"
    with serving(site) as service:
        first = served_certificate(service, authority, tmp_path)
        kept = connected(service, authority, tmp_path)
        authority.issue(certificate, key, "127.0.0.1")
        service.process.send_signal(signal.SIGHUP)
        service.await_log("reloaded")
        second = served_certificate(service, authority, tmp_path)
        assert second != first
        kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: kms\r\n\r\n")
        assert kept.recv(100).startswith(b"HTTP/1.1 200")  # a connection outlives its certificate's renewal
        kept.close()
        authority.issue(certificate, tmp_path / "other.key", "127.0.0.1")
        service.process.send_signal(signal.SIGHUP)
        failure = service.await_log("reload-failed")
        assert failure["what"] == "certificate"
        assert served_certificate(service, authority, tmp_path) == second


def test_client_certificates_are_demanded(site: Site, authority: Authority, tmp_path: Path) -> None:
    clients, strangers = Authority("Clients"), Authority("Strangers")
    site.edit("[tls]", f'[tls]\nclient_ca = "{clients.write(tmp_path / "clients.pem")}"\n'
              'client_certificates = "required"')  # fmt: skip
    with serving(site) as service:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            service.get("/health/live", trusting(authority, tmp_path))
        for issuer, accepted in ((clients, True), (strangers, False)):
            issuer.issue(tmp_path / "client.pem", tmp_path / "client.key", "alice.example.com")
            context = trusting(authority, tmp_path)
            context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
            if accepted:
                assert service.get("/health/live", context)[0] == 200
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    service.get("/health/live", context)


def test_plain_http_beyond_loopback_needs_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path / "site")
    serve = ["kms", "serve", "--dir", str(site.directory), "--listen", "0.0.0.0:0"]
    for words in ([], ["--plain-http", "yes"], ["--plain-http", "true"]):
        assert main([*serve, *words]) == 2
        assert PLAIN_HTTP_WORDS in capsys.readouterr().err
    with serving(site, "--listen", "0.0.0.0:0", "--plain-http", PLAIN_HTTP_WORDS) as service:
        assert service.url.startswith("http://0.0.0.0:")
