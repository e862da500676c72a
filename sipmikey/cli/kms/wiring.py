"""From `kms.toml` to the objects a worker is made of."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sipmikey.cli.kms.common import loaded, path_of
from sipmikey.cli.kms.configuration import CONFIG_NAME, KmsConfiguration, TlsSection
from sipmikey.key_file import read_key_file
from sipmikey.kms.client import ClientTls, HttpKmsClient
from sipmikey.kms.server.app import HttpSettings, current_peer_names
from sipmikey.kms.server.forward import GuardedCredentials
from sipmikey.kms.server.protocol import ConnectionLimits
from sipmikey.kms.server.tls import ClientCertificates, ServerTls, ServerTlsFiles
from sipmikey.kms.server.worker import WorkerSettings
from sipmikey.kms.service import CredentialSource, KmsSettings, Lookups, PeerKms
from sipmikey.kms.stores.store import Store
from sipmikey.rate_limit import RateLimiter
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.credentials import KmsKeyPair

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


def settings(configuration: KmsConfiguration) -> KmsSettings:
    kms = configuration.kms
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
        key_pairs=_key_pairs(configuration),
        trust_anchors=_trust_anchors(configuration),
    )


def _key_pairs(configuration: KmsConfiguration) -> tuple[KmsKeyPair, ...]:
    section = configuration.public_key
    if section.certificate is None and section.private_key is None:
        return ()
    if section.certificate is None or section.private_key is None:
        raise ConfigurationError("public_key.certificate and public_key.private_key go together")
    try:
        key = load_pem_private_key(section.private_key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        raise ConfigurationError(
            f"{section.private_key}: not a private key in PEM without password"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"{section.private_key}: MIKEY's envelopes need an RSA key")
    return (KmsKeyPair(private_key=key, certificate=_certificates(section.certificate)[0]),)


def _trust_anchors(configuration: KmsConfiguration) -> tuple[x509.Certificate, ...]:
    file = configuration.public_key.trust_anchors
    return () if file is None else tuple(_certificates(file))


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{path}: no certificate in PEM") from None


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
