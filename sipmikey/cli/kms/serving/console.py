"""From `[console]` of `kms.toml` to the console."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.kms.common import DAY_S
from sipmikey.cli.kms.configuration import ConsoleSection, KmsConfiguration
from sipmikey.cli.kms.enrolment import public_url, serves_enrolment
from sipmikey.cli.kms.policy import policy_text
from sipmikey.cli.kms.status import Finding, store_findings
from sipmikey.kms.console.roles import People, Role
from sipmikey.kms.console.serve import ConsoleApplication
from sipmikey.kms.console.settings import ConsoleSettings, OidcSettings
from sipmikey.kms.openid.provider import OpenIdClient, provider_tls
from sipmikey.kms.server.tls import ClientCertificates, ServerTls, ServerTlsFiles
from sipmikey.kms.server.worker import Listener
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.settings import ConfigurationError

SOON_S = 14 * DAY_S
MOST = 10_000
"""Subscribers beyond which the page of health does not look at each key."""


def console_listener(configuration: KmsConfiguration, store: Store, listener: socket.socket) -> Listener:
    """Return the console over *store* for the bound *listener*. Raises ConfigurationError."""
    section = configuration.console
    if section.client_ca is None and not section.oidc_issuer:
        raise ConfigurationError("[console] needs a way to sign in: client_ca, oidc_issuer, or both")
    if not (section.administrators or section.help_desk or section.auditors):
        raise ConfigurationError("[console] lets nobody in: name administrators, help_desk or auditors")
    settings = console_settings(configuration, store, _url(section, listener))
    return Listener(application=ConsoleApplication(store, settings), socket=listener, tls=_tls(configuration))


def console_settings(configuration: KmsConfiguration, store: Store, url: str) -> ConsoleSettings:
    """Return what the console at *url* is told. Raises ConfigurationError."""
    section = configuration.console

    async def health() -> Sequence[Finding]:
        return [finding async for finding in store_findings(configuration, store, SOON_S, most=MOST)]

    async def policy() -> str:
        return await policy_text(configuration, store)

    return ConsoleSettings(
        url=url,
        people=People(
            {
                Role.ADMINISTRATOR: section.administrators,
                Role.HELP_DESK: section.help_desk,
                Role.AUDITOR: section.auditors,
            }
        ),
        kms_identity=configuration.kms.identity,
        device_url=public_url(configuration) if serves_enrolment(configuration) else None,
        invitation_minutes=configuration.enrolment.invitation_minutes,
        health=health,
        policy_text=policy,
        policy_in_store=configuration.policy.source == "store",
        certificates=section.client_ca is not None,
        oidc=_oidc(section),
        idle_s=round(section.idle_minutes * 60),
        session_s=round(section.session_hours * 3600),
    )


def _url(section: ConsoleSection, listener: socket.socket) -> str:
    if section.url:
        parts = urlsplit(section.url)
        if parts.scheme != "https" or not parts.netloc or parts.path not in ("", "/"):
            raise ConfigurationError(f"console.url is https://HOST or https://HOST:PORT, not {section.url!r}")
        return f"https://{parts.netloc}"
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        raise ConfigurationError("console.listen is every address: say in console.url what browsers use")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _tls(configuration: KmsConfiguration) -> ServerTls:
    section = configuration.console
    if (section.certificate is None) != (section.private_key is None):
        raise ConfigurationError("console.certificate and console.private_key go together")
    certificate = section.certificate or configuration.tls.certificate
    private_key = section.private_key or configuration.tls.private_key
    if certificate is None or private_key is None:
        raise ConfigurationError("the console is served over TLS only: give it console.certificate")
    with_certificates = section.client_ca is not None
    needed = ClientCertificates.OPTIONAL if section.oidc_issuer else ClientCertificates.REQUIRED
    return ServerTls(
        ServerTlsFiles(
            certificate=certificate,
            private_key=private_key,
            client_ca=section.client_ca,
            client_certificates=needed if with_certificates else ClientCertificates.NONE,
        )
    )


def _oidc(section: ConsoleSection) -> OidcSettings | None:
    if not section.oidc_issuer:
        return None
    if not section.oidc_client_id:
        raise ConfigurationError("console.oidc_issuer needs console.oidc_client_id")
    secret = section.oidc_client_secret
    try:
        client = OpenIdClient(
            issuer=section.oidc_issuer,
            client_id=section.oidc_client_id,
            client_secret=None if secret is None else read_secret_file(secret, "console.oidc_client_secret"),
            setting="console.oidc_issuer",
            tls=provider_tls(section.oidc_ca, "console.oidc_ca"),
        )
    except LocalError as error:
        raise ConfigurationError(str(error)) from None
    return OidcSettings(client=client, claim=section.oidc_claim, groups_claim=section.oidc_groups_claim)
