"""From `kms.toml` to the objects a worker is made of."""

from __future__ import annotations

import dataclasses
import time

from sipmikey.cli.kms.common import loaded, path_of
from sipmikey.cli.kms.configuration import CONFIG_NAME, KmsConfiguration, TlsSection
from sipmikey.cli.kms.public_key import key_pairs, revocation, trust_anchors
from sipmikey.cli.kms.serving.scim import scim_pages
from sipmikey.cli.kms.serving.sign_on import sign_on_pages
from sipmikey.key_file import read_key_file
from sipmikey.kms.client import ClientTls, HttpKmsClient
from sipmikey.kms.enrolment.authority import DeviceAuthority
from sipmikey.kms.enrolment.desk import EnrolmentDesk, EnrolmentSettings
from sipmikey.kms.server.app import HttpSettings, current_peer_names
from sipmikey.kms.server.enrolment import AddressFailures, EnrolmentPages
from sipmikey.kms.server.forward import GuardedCredentials
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.pages import Pages
from sipmikey.kms.server.protocol import ConnectionLimits
from sipmikey.kms.server.tls import ClientCertificates, ServerTls, ServerTlsFiles
from sipmikey.kms.server.worker import WorkerSettings
from sipmikey.kms.service import CredentialSource, KmsSettings, Lookups, PeerKms
from sipmikey.kms.stores.store import Store
from sipmikey.rate_limit import RateLimiter
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.environment import Environment

_ASKED = tuple(name for name in vars(CredentialSource) if not name.startswith("_"))
"""The methods of a source of credentials."""


def lookups(configuration: KmsConfiguration, store: Store) -> Lookups:
    """Return what the service asks, with the limit per subscriber and the guard on other KMSs' keys."""
    limits = configuration.limits
    found = store.lookups(limiter(limits.subscriber_per_second, limits.subscriber_burst))
    credentials: CredentialSource = found.credentials
    if configuration.kms.credential_source:
        name = configuration.kms.credential_source
        credentials = loaded(name, "kms.credential_source")(credentials)
        missing = [method for method in _ASKED if not callable(getattr(credentials, method, None))]
        if missing:
            raise ConfigurationError(f"kms.credential_source: {name} lacks {', '.join(missing)}")
    return dataclasses.replace(found, credentials=GuardedCredentials(credentials, current_peer_names.get))


def pages(
    configuration: KmsConfiguration,
    enrolment: EnrolmentSettings | None,
    env: Environment,
    store: Store,
    metrics: Metrics,
) -> list[Pages]:
    """Return what is served beside key management: invitations, devices and sign-on, and SCIM."""
    served: list[Pages] = []
    if enrolment is not None:
        served.append(_enrolment_pages(configuration, enrolment, env, store, metrics))
        served += sign_on_pages(configuration, env, store, metrics)
    return served + scim_pages(configuration, store, metrics)


def _enrolment_pages(
    configuration: KmsConfiguration,
    enrolment: EnrolmentSettings,
    env: Environment,
    store: Store,
    metrics: Metrics,
) -> EnrolmentPages:
    failures = limiter(1 / 60, configuration.enrolment.failures_burst)
    desk = EnrolmentDesk(
        env,
        enrolment,
        store.devices,
        audit=store.audit,
        replay=store.replay,
        failures=None if failures is None else AddressFailures(failures),
    )
    return EnrolmentPages(desk, metrics=metrics, handle_s=configuration.http.answer_s)


def by_address(configuration: KmsConfiguration) -> RateLimiter | None:
    """Return the limit per address, or None."""
    limits = configuration.limits
    return limiter(limits.address_per_second, limits.address_burst)


def server_tls(configuration: KmsConfiguration) -> ServerTls | None:
    return server_tls_of(configuration.tls)


def server_tls_of(tls: TlsSection) -> ServerTls | None:
    """Return the TLS of a server, None where no certificate is set. Raises ConfigurationError."""
    if tls.certificate is None and tls.private_key is None:
        if tls.client_certificates != "none":
            raise ConfigurationError("tls.client_certificates needs tls.certificate and tls.private_key")
        return None
    if tls.certificate is None or tls.private_key is None:
        raise ConfigurationError("tls.certificate and tls.private_key go together")
    return ServerTls(
        ServerTlsFiles(
            certificate=tls.certificate,
            private_key=tls.private_key,
            client_ca=tls.client_ca,
            client_certificates=ClientCertificates(tls.client_certificates),
        )
    )


def limiter(per_second: float, burst: int) -> RateLimiter | None:
    """Return a rate limit, or None where the rate is 0."""
    if per_second == 0:
        return None
    return RateLimiter(per_second=per_second, burst=burst, now=time.monotonic)


def settings(configuration: KmsConfiguration, authority: DeviceAuthority | None) -> KmsSettings:
    """Return what the service is told; *authority* signs the certificates of devices, if anything does."""
    kms, section = configuration.kms, configuration.public_key
    anchors = trust_anchors(section)
    return KmsSettings(
        identity=kms.identity,
        aliases=frozenset(kms.aliases),
        peers={
            identity: PeerKms(
                identity=identity,
                url=peer.url,
                key=read_key_file(peer.key_file, f'peers."{identity}".key_file'),
                key_id=peer.key_id.encode(),
            )
            for identity, peer in configuration.peers.items()
        },
        key_pairs=key_pairs(section, configuration.directory),
        trust_anchors=anchors,
        revocation=revocation(section, configuration.directory, anchors),
        registered_issuers=() if authority is None else (authority.certificate.subject,),
    )


def peer_client(configuration: KmsConfiguration) -> HttpKmsClient | None:
    """Return the client for other KMSs: TLS with a certificate of ours, always."""
    if not configuration.peers:
        return None
    tls = configuration.peer_tls
    if tls.ca is None or tls.certificate is None or tls.private_key is None:
        raise ConfigurationError(
            f"{path_of(configuration, CONFIG_NAME)}: other KMSs are asked over mutually authenticated TLS: "
            "[peer_tls] needs ca, certificate and private_key"
        )
    for identity, peer in configuration.peers.items():
        if not peer.url.startswith("https:"):
            raise ConfigurationError(f'peers."{identity}".url must be https, not {peer.url}')
    return HttpKmsClient(
        by_identity={identity: peer.url for identity, peer in configuration.peers.items()},
        tls=ClientTls(ca_file=tls.ca, certificate=tls.certificate, private_key=tls.private_key),
        timeout_s=max(0.5, configuration.http.answer_s * 0.8),
    )


def worker_settings(configuration: KmsConfiguration) -> WorkerSettings:
    http = configuration.http
    return WorkerSettings(
        http=HttpSettings(
            path=http.path, body_bytes=http.body_bytes, handle_s=http.answer_s, pending=http.pending
        ),
        connections=ConnectionLimits(
            request_s=http.request_s, connections=http.connections, idle_s=http.idle_s
        ),
        trusted_proxies=http.trusted_proxies,
        shutdown_s=http.shutdown_s,
    )
