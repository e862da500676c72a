"""What a KMS's `kms.toml` holds: one frozen dataclass a section, each field with its description and check.

The same table makes the keys of the file, the error texts, `sipmikey kms config` and
docs/kms/configuration.md.
"""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sipmikey.settings import (
    ConfigurationError,
    MergedSettings,
    Section,
    merge,
    nearest,
    read_section,
    read_toml,
    setting,
)
from sipmikey.settings import readers as read

CONFIG_NAME: Final = "kms.toml"
DIRECTORY_VARIABLE: Final = "SIPMIKEY_KMSD_DIR"
MASTER_KEY_VARIABLE: Final = "SIPMIKEY_KMSD_MASTER_KEY"

PLAIN_HTTP_WORDS: Final = "yes, without TLS"
"""What an operator has to write to serve plain HTTP beyond loopback."""

POLICY_SOURCES = ("file", "store")
CLIENT_CERTIFICATES = ("none", "optional", "required")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSection:
    """The identity of the KMS, and the lifetime of its keys."""

    identity: str = setting(None, "the KMS's URI, sent as IDRkms", read.text, required=True)
    aliases: tuple[str, ...] = setting((), "further URIs the KMS answers to", read.texts)
    clock_skew_s: int = setting(300, "seconds that a sender's clock may be off", read.count(0))
    ticket_key_days: float = setting(
        30.0,
        "age at which the ticket protection key is replaced; 0 leaves that to `sipmikey kms tpk rotate`",
        read.number(0, 36_500, "days"),
    )
    credential_source: str = setting(
        "",
        "`PACKAGE.MODULE:NAME`, called with the store's `CredentialSource`; it returns the one to use",
        read.optional_text,
    )


def _files(value: object) -> Mapping[str, str]:
    return MappingProxyType({read.text(name): read.text(file) for name, file in read.pairs(value).items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeySection:
    """For REQUEST_INIT_PK and RESOLVE_INIT_PK."""

    certificate: Path | None = setting(None, "the KMS's certificate, PEM", read.optional_path)
    private_key: Path | None = setting(None, "its RSA private key, PEM", read.optional_path)
    older: Mapping[str, str] = setting(
        MappingProxyType({}),
        "further certificates of the KMS and their keys, for clients that name one by CHASH",
        _files,
    )
    trust_anchors: Path | None = setting(None, "CAs of subscribers' certificates, PEM", read.optional_path)
    revocation_lists: tuple[str, ...] = setting(
        (),
        "revocation lists of those CAs, PEM; with any, a certificate needs a current list of its issuer",
        read.texts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """Where subscribers, keys and the audit log are kept."""

    url: str = setting(
        "sqlite:kms.sqlite",
        "`sqlite:PATH` or `postgresql://...`; `env:NAME` or `file:PATH` where it holds a password",
        read.text,
    )
    replay_url: str = setting(
        "",
        "replay cache, `redis://...` or `redis+sentinel://HOST:PORT,.../NAME`; empty keeps it in the store; "
        "`env:NAME` or `file:PATH` likewise",
        read.optional_text,
    )
    master_key: str = setting(
        "file:master.key",
        "key that encrypts the store's secrets: `file:PATH`, `env:NAME`, `wrapped:PATH` (by a token or a "
        "Vault) or `provider:PACKAGE.MODULE:CLASS`",
        read.text,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """Where the policy is."""

    source: str = setting(
        "file",
        "a file, read at start and at SIGHUP, or the store, in force on all machines within seconds",
        read.word(*POLICY_SOURCES),
        words=POLICY_SOURCES,
    )
    file: Path = setting(Path("policy.toml"), "the policy file", read.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSection:
    """Where and how HTTP is served."""

    listen: tuple[str, ...] = setting(("127.0.0.1:8043",), "addresses to serve, `HOST:PORT`", read.texts)
    plain_http: str = setting(
        "",
        f'`"{PLAIN_HTTP_WORDS}"` serves plain HTTP on addresses that are not loopback',
        read.optional_text,
    )
    path: str = setting("/keymanagement", "path of the URL that takes MIKEY messages", read.text)
    workers: int = setting(1, "worker processes", read.count(0))
    trusted_proxies: tuple[str, ...] = setting(
        (), "addresses of proxies whose X-Forwarded-For is believed", read.texts
    )
    metrics_listen: str = setting("", "`HOST:PORT` of Prometheus metrics; empty: none", read.optional_text)
    traces: str = setting(
        "",
        "URL that takes OpenTelemetry traces (OTLP over HTTP), such as `http://127.0.0.1:4318/v1/traces`",
        read.optional_text,
    )
    metrics_anywhere: bool = setting(
        False, "serve metrics beyond loopback, where only the monitoring reaches them", read.boolean
    )
    log_level: str = setting("info", "least level logged", read.word(*LOG_LEVELS), words=LOG_LEVELS)
    body_bytes: int = setting(98_304, "longest request body, bytes", read.count(0))
    request_s: float = setting(10.0, "seconds for a request to arrive", read.seconds(0, 86_400))
    answer_s: float = setting(5.0, "seconds to answer it", read.seconds(0, 86_400))
    idle_s: int = setting(75, "seconds that an idle connection is kept", read.count(0))
    shutdown_s: int = setting(15, "seconds for requests under way at shutdown", read.count(0))
    connections: int = setting(4096, "connections of one worker", read.count(0))
    pending: int = setting(256, "requests under way in one worker; more get 503", read.count(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSection:
    """TLS of the server. Without a certificate it serves plain HTTP."""

    certificate: Path | None = setting(None, "the server's certificate, PEM", read.optional_path)
    private_key: Path | None = setting(None, "its private key, PEM", read.optional_path)
    client_ca: Path | None = setting(None, "CAs of client certificates, PEM", read.optional_path)
    client_certificates: str = setting(
        "none",
        "whether clients need a certificate",
        read.word(*CLIENT_CERTIFICATES),
        words=CLIENT_CERTIFICATES,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """Rate limits in each worker."""

    address_per_second: float = setting(
        200.0, "messages a second from one address; 0: no limit", read.number(0, 1e9, "messages")
    )
    address_burst: int = setting(400, "messages one address may send at once", read.count(0))
    subscriber_per_second: float = setting(
        20.0, "messages a second from one subscriber; 0: no limit", read.number(0, 1e9, "messages")
    )
    subscriber_burst: int = setting(60, "messages one subscriber may send at once", read.count(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentSection:
    """Invitations and devices."""

    enabled: bool = setting(True, "serve devices that were invited", read.boolean)
    url: str = setting(
        "",
        "base URL at which devices reach this KMS, `https://...`; by default the first address it serves",
        read.optional_text,
    )
    profile: Path = setting(
        Path("profile.toml"), "settings that devices get, named as in an agent's configuration", read.path
    )
    invitation_minutes: float = setting(
        15.0, "life of an invitation, minutes", read.number(0.1, 527_040, "minutes")
    )
    key_days: float = setting(
        90.0,
        "life of a device's key, days; it is renewed in the last third",
        read.number(0.001, 3650, "days"),
    )
    overlap_days: float = setting(
        30.0, "days that the old key goes on after a renewal", read.number(0, 365, "days")
    )
    failures_burst: int = setting(
        10, "wrong codes that one address may try at once, then one a minute", read.count(1)
    )
    ca_certificate: Path | None = setting(
        None, "CA that signs devices' certificates, PEM; it must be among `public_key.trust_anchors` too",
        read.optional_path,
    )  # fmt: skip
    ca_private_key: Path | None = setting(None, "its RSA private key, PEM", read.optional_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSection:
    """The web console for administrators, on an address of its own, always over TLS."""

    listen: str = setting("", "`HOST:PORT` to serve the console on; empty: no console", read.optional_text)
    url: str = setting(
        "", "its URL as browsers have it, `https://...`; by default of `console.listen`", read.optional_text
    )
    certificate: Path | None = setting(
        None, "its certificate, PEM; by default `tls.certificate`", read.optional_path
    )
    private_key: Path | None = setting(None, "its private key, PEM", read.optional_path)
    client_ca: Path | None = setting(
        None, "CAs of people's client certificates, PEM; they sign in by those", read.optional_path
    )
    oidc_issuer: str = setting(
        "", "issuer URL of an OpenID provider; people sign in there", read.optional_text
    )
    oidc_client_id: str = setting("", "the console's name at the provider", read.optional_text)
    oidc_client_secret: Path | None = setting(
        None, "file with its secret there; without one PKCE alone protects the code", read.optional_path
    )
    oidc_ca: Path | None = setting(None, "CAs of the provider's TLS, PEM", read.optional_path)
    oidc_claim: str = setting(
        "email", "claim that names a person; an `email` must be verified there", read.text
    )
    oidc_groups_claim: str = setting(
        "groups", "claim that lists a person's groups; empty: none counts", read.optional_text
    )
    administrators: tuple[str, ...] = setting(
        (), "who may do everything: mail addresses or URIs of certificates, claims, `group:NAME`", read.texts
    )
    help_desk: tuple[str, ...] = setting(
        (), "who may invite devices, revoke them, and disable and enable users", read.texts
    )
    auditors: tuple[str, ...] = setting((), "who may see everything and change nothing", read.texts)
    idle_minutes: float = setting(
        15.0, "minutes after which an idle session ends", read.number(1, 1440, "minutes")
    )
    session_hours: float = setting(8.0, "hours after which any session ends", read.number(0.02, 168, "hours"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentOidcSection:
    """Single sign-on by the OAuth 2.0 device grant (RFC 8628) at the organisation's OpenID provider."""

    issuer: str = setting("", "the provider's issuer, `https://...`; empty: no sign-on", read.optional_text)
    client_id: str = setting("", "identifier of this KMS as the provider's client", read.optional_text)
    client_secret_file: Path | None = setting(
        None, "file that holds the client's secret; none for a public client", read.optional_path
    )
    audience: str = setting("", "what `aud` of ID tokens holds, if not the client_id", read.optional_text)
    scopes: tuple[str, ...] = setting(("openid", "profile"), "scopes that are asked for", read.texts)
    claim: str = setting("preferred_username", "claim of the ID token that names the person", read.text)
    identity: str = setting(
        "", "the person's identity, with the claim at {}: `sip:{}@example.com`", read.optional_text
    )
    groups_claim: str = setting("groups", "claim that lists the person's groups", read.text)
    allowed_groups: tuple[str, ...] = setting(
        (), "groups whose members may enrol devices; empty: everybody", read.texts
    )
    add_users: bool = setting(False, "make a subscriber of a person who is none yet", read.boolean)
    ca_file: Path | None = setting(
        None, "CAs of the provider, PEM, instead of the system's", read.optional_path
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapSection:
    """Users and groups from LDAP, taken over by `sipmikey kms ldap sync`."""

    url: str = setting(
        "", "`ldaps://HOST`, `ldap://HOST` (with StartTLS) or `ldapi://%2Fpath`; empty: no LDAP",
        read.optional_text,
    )  # fmt: skip
    ca_file: Path | None = setting(
        None, "CAs of the server, PEM; by default the system's", read.optional_path
    )
    bind_dn: str = setting("", "who reads; empty: anonymous", read.optional_text)
    password_file: Path | None = setting(None, "file with its password", read.optional_path)
    base: str = setting("", "where people are", read.optional_text)
    filter: str = setting("(objectClass=inetOrgPerson)", "who of them has a phone", read.text)
    key: str = setting("entryUUID", "attribute that names an entry for good", read.text)
    identities: tuple[str, ...] = setting(
        (), "identities, the primary first: `sip:{uid}@example.com`, `tel:{telephoneNumber}`", read.texts
    )
    group_base: str = setting("", "where groups are; empty: groups are left alone", read.optional_text)
    group_filter: str = setting("(objectClass=groupOfNames)", "which of them", read.text)
    group_identity: str = setting("", "what they are here: `sip:{cn}@groups.example.com`", read.optional_text)
    group_member: str = setting("member", "attribute with the names of members", read.text)
    page: int = setting(500, "entries asked for at once", read.count(1))
    leavers_percent: float = setting(
        20.0, "more leavers than this at once need `--force`", read.number(0, 100, "percent")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScimSection:
    """Users and groups told by an identity provider (SCIM 2.0), at `/scim/v2`."""

    enabled: bool = setting(False, "serve SCIM, over TLS or on this machine only", read.boolean)
    identities: tuple[str, ...] = setting(
        (), "identities, the primary first: of `{userName}`, `{externalId}`, `{emails}`, `{phoneNumbers}`",
        read.texts,
    )  # fmt: skip
    group_identity: str = setting(
        "", "what groups are here: `sip:{displayName}@groups.example.com`; empty: no groups",
        read.optional_text,
    )  # fmt: skip
    client_certificates: tuple[str, ...] = setting(
        (), "names in certificates of clients that need no token", read.texts
    )
    failures_burst: int = setting(
        10, "wrong tokens that one address may show at once, then one a minute", read.count(1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTlsSection:
    """TLS towards other KMSs. All three are needed once there is a peer."""

    ca: Path | None = setting(None, "CAs of the other KMSs, PEM", read.optional_path)
    certificate: Path | None = setting(None, "our client certificate, PEM", read.optional_path)
    private_key: Path | None = setting(None, "its private key, PEM", read.optional_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSection:
    """Another KMS, which resolves the tickets it issued."""

    url: str = setting(None, "its base URL, https", read.text, required=True)
    key_id: str = setting(None, "name of the pre-shared key for asking it", read.text, required=True)
    key_file: Path = setting(None, "file that holds this key", read.path, required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsConfiguration:
    """All of `kms.toml`. ``directory`` is where the file is."""

    directory: Path
    kms: KmsSection
    public_key: PublicKeySection = PublicKeySection()
    store: StoreSection = StoreSection()
    policy: PolicySection = PolicySection()
    http: HttpSection = HttpSection()
    tls: TlsSection = TlsSection()
    limits: LimitsSection = LimitsSection()
    enrolment: EnrolmentSection = EnrolmentSection()
    console: ConsoleSection = ConsoleSection()
    enrolment_oidc: EnrolmentOidcSection = EnrolmentOidcSection()
    ldap: LdapSection = LdapSection()
    scim: ScimSection = ScimSection()
    peer_tls: PeerTlsSection = PeerTlsSection()
    peers: Mapping[str, PeerSection] = field(default_factory=dict)


SECTIONS: Final[Mapping[str, Section]] = {
    "kms": KmsSection,
    "public_key": PublicKeySection,
    "store": StoreSection,
    "policy": PolicySection,
    "http": HttpSection,
    "tls": TlsSection,
    "limits": LimitsSection,
    "enrolment": EnrolmentSection,
    "console": ConsoleSection,
    "enrolment.oidc": EnrolmentOidcSection,
    "ldap": LdapSection,
    "scim": ScimSection,
    "peer_tls": PeerTlsSection,
}


def peer_name(identity: str) -> str:
    """Return the name of the section of another KMS."""
    return f'peers."{identity}"'


def default_directory() -> Path:
    """Return the KMS's directory when no option names it: `SIPMIKEY_KMSD_DIR`, or `kms` here.

    `SIPMIKEY_KMS_*` variables are settings of the agent, hence the D.
    """
    return Path(os.environ.get(DIRECTORY_VARIABLE) or "kms")


def load(directory: Path) -> KmsConfiguration:
    """Read `kms.toml` in *directory*; raise ConfigurationError saying which key is wrong and how."""
    return load_merged(directory)[0]


def load_merged(directory: Path) -> tuple[KmsConfiguration, MergedSettings]:
    """Return the configuration in *directory*, and where each of its values came from."""
    path = directory / CONFIG_NAME
    if not path.exists():
        raise ConfigurationError(
            f"there is no KMS in {directory} ({CONFIG_NAME} is missing): "
            f"make one with `sipmikey kms init --dir {directory} --identity URI`, or name another with --dir"
        )
    tables = read_toml(path)
    peers = tables.pop("peers", {})
    take_inner_sections(tables)
    for name in tables:
        if name not in SECTIONS:
            raise ConfigurationError(
                f"{path}: unknown section [{name}]; {nearest(name, (*SECTIONS, 'peers'))}"
            )
    merged = merge(SECTIONS, path=path, tables=tables)
    if not isinstance(peers, dict):
        raise ConfigurationError(f'{path}: peers are sections: write [peers."sip:kms@example.org"]')
    configuration = KmsConfiguration(
        directory=directory,
        peers={
            identity: read_section(PeerSection, table, where=peer_name(identity), path=path)
            for identity, table in peers.items()
        },
        **{name.replace(".", "_"): section for name, section in merged.sections(SECTIONS).items()},
    )
    return configuration, merged


def take_inner_sections(tables: dict[str, Any]) -> None:
    """Put a section within another, as `[enrolment.oidc]`, beside it under its whole name."""
    for name in SECTIONS:
        outer, _, inner = name.partition(".")
        table = tables.get(outer)
        if inner and isinstance(table, dict) and inner in table:
            tables[name] = table.pop(inner)
