"""The console as it is served: by `sipmikey kms serve`, over TLS, on an address of its own."""

from __future__ import annotations

import http.client
import re
import ssl
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from sipmikey.cli.main import main
from tests.kms.http.serving import ALICE, Authority, Service, Site, serving

ANN = "ann@example.com"


def console_site(directory: Path, **settings: object) -> tuple[Site, Authority]:
    """Return a KMS with a console that Ann may use, and who signs certificates."""
    site = Site(directory / "kms", "--listen", "127.0.0.1:0")
    authority = Authority()
    authority.write(site.directory / "ca.pem")
    authority.issue(site.directory / "console.pem", site.directory / "console.key", "127.0.0.1")
    for name in ("ann", "eve"):
        authority.issue(site.directory / f"{name}.pem", site.directory / f"{name}.key", f"{name}@example.com")
    given = {
        "listen": "127.0.0.1:0", "certificate": "console.pem", "private_key": "console.key",
        "client_ca": "ca.pem", "administrators": [ANN],
    }  # fmt: skip
    site.configure("console", **{**given, **settings})
    site.add(ALICE)
    return site, authority


def browser(site: Site, service: Service, name: str | None) -> http.client.HTTPSConnection:
    assert service.console_url is not None
    context = ssl.create_default_context(cafile=site.directory / "ca.pem")
    if name is not None:
        context.load_cert_chain(site.directory / f"{name}.pem", site.directory / f"{name}.key")
    parts = urlsplit(service.console_url)
    return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=20, context=context)


def ask(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    url: str,
    cookie: str = "",
    body: str = "",
) -> tuple[int, str, str]:
    headers = {"Origin": url, "Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read().decode(), response.getheader("set-cookie") or ""


@pytest.mark.processes
@pytest.mark.parametrize("workers", [1, 2])
def test_a_certificate_opens_the_console_and_what_is_done_is_audited(tmp_path: Path, workers: int) -> None:
    site, _ = console_site(tmp_path)
    with serving(site, "--workers", workers) as service:
        url = service.console_url or ""
        connection = browser(site, service, "ann")
        status, page, _ = ask(connection, "GET", "/sign-in", url)
        assert (status, ANN in page) == (200, True)
        connection.request("POST", "/sign-in/certificate", "", {"Origin": url})
        response = connection.getresponse()
        response.read()
        cookie = next(
            value.partition(";")[0]
            for name, value in response.getheaders()
            if name.lower() == "set-cookie" and "console=" in value
        )
        # Another connection, perhaps to another worker: sessions are in the store.
        second = browser(site, service, "ann")
        _, page, _ = ask(second, "GET", "/user?name=sip%3Aalice%40example.com", url, cookie)
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
        form = urlencode({"csrf": csrf, "name": ALICE})
        assert ask(connection, "POST", "/user/disable", url, cookie, form)[0] == 303
        stranger = browser(site, service, "eve")
        assert ask(stranger, "GET", "/users", url, cookie)[0] == 303
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            ask(browser(site, service, None), "GET", "/", url)  # without a certificate: no page at all
        assert service.get("/sign-in")[0] == 404, "phones' own address has no console"
    assert main(["kms", "audit", "--dir", str(site.directory), "--since", "1h"]) == 0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"client_ca": "", "oidc_issuer": ""}, "a way to sign in"),
        ({"administrators": []}, "lets nobody in"),
        ({"certificate": ""}, "go together"),
        ({"listen": "0.0.0.0:0"}, "what browsers use"),
        ({"oidc_issuer": "http://sso.example.com", "oidc_client_id": "x"}, "https://"),
        ({"oidc_issuer": "https://sso.example.com"}, "oidc_client_id"),
        ({"url": "http://console.example.com"}, "console.url"),
    ],
)
def test_a_console_that_would_be_open_is_not_served(
    tmp_path: Path, settings: dict[str, object], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    site, _ = console_site(tmp_path, **settings)
    assert main(["kms", "serve", "--dir", str(site.directory)]) == 2
    assert why in capfd.readouterr().err
