"""What a KMS's `kms.toml` holds: one frozen dataclass a section, defaults included.

Paths in the file are relative to it. An unknown key or word is an error that names what is allowed.
"""

from __future__ import annotations

import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from sipmikey.cli.config.schema import ConfigurationError, nearest

CONFIG_NAME: Final = "kms.toml"
DIRECTORY_VARIABLE: Final = "SIPMIKEY_KMSD_DIR"
MASTER_KEY_VARIABLE: Final = "SIPMIKEY_KMSD_MASTER_KEY"

PLAIN_HTTP_WORDS: Final = "yes, without TLS"
"""What an operator has to write to serve plain HTTP beyond loopback."""

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSection:
    """``identity``: the KMS's URI, put into IDRkms. ``aliases``: others it answers to.

    ``clock_skew_s``: seconds a sender's clock may be off. ``ticket_key_days``: age at which the Ticket
    Protection Key is replaced; 0 leaves that to `sipmikey kms tpk rotate`. ``credential_source``: empty for
    the store, or ``PACKAGE.MODULE:NAME``, called with the store's `CredentialSource` and returning another.
    """

    identity: str
    aliases: tuple[str, ...] = ()
    clock_skew_s: int = 300
    ticket_key_days: float = 30.0
    credential_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeySection:
    """For REQUEST_INIT_PK and RESOLVE_INIT_PK, PEM: the KMS's RSA key, and the CAs of subscribers."""

    certificate: Path | None = None
    private_key: Path | None = None
    trust_anchors: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """``url``: ``sqlite:PATH`` or ``postgresql://...``. ``replay_url``: ``redis://...``; empty: in the store.

    ``master_key``: ``file:PATH``, ``env:NAME`` or ``provider:PACKAGE.MODULE:CLASS`` (a `MasterKeyProvider`).
    """

    url: str = "sqlite:kms.sqlite"
    replay_url: str = ""
    master_key: str = "file:master.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """``source``: ``file``, read at start and at SIGHUP, or ``store``, in force everywhere within seconds."""

    source: str = "file"
    file: Path = Path("policy.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSection:
    """Where and how HTTP is served; sizes in octets, times in seconds, counts for one worker."""

    listen: tuple[str, ...] = ("127.0.0.1:8043",)
    plain_http: str = ""
    path: str = "/keymanagement"
    workers: int = 1
    trusted_proxies: tuple[str, ...] = ()
    metrics_listen: str = ""
    log_level: str = "info"
    body_bytes: int = 98_304
    request_s: float = 10.0
    answer_s: float = 5.0
    idle_s: int = 75
    shutdown_s: int = 15
    connections: int = 4096
    pending: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSection:
    """PEM files; empty ``certificate``: plain HTTP. ``client_certificates``: none, optional or required."""

    certificate: Path | None = None
    private_key: Path | None = None
    client_ca: Path | None = None
    client_certificates: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """Messages a second of an address and of a subscriber, and bursts, in each worker; rate 0: no limit."""

    address_per_second: float = 200.0
    address_burst: int = 400
    subscriber_per_second: float = 20.0
    subscriber_burst: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTlsSection:
    """What is shown to other KMSs, and by which CAs they are known. All three, once there is a peer."""

    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSection:
    """Another KMS: its base ``url`` (https), and the pre-shared key for asking it, base64 in ``key_file``."""

    url: str
    key_id: str
    key_file: Path


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
    peer_tls: PeerTlsSection = PeerTlsSection()
    peers: Mapping[str, PeerSection] = field(default_factory=dict)


SECTIONS: Final[dict[str, type]] = {
    "kms": KmsSection,
    "public_key": PublicKeySection,
    "store": StoreSection,
    "policy": PolicySection,
    "http": HttpSection,
    "tls": TlsSection,
    "limits": LimitsSection,
    "peer_tls": PeerTlsSection,
}

WORDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("policy", "source"): ("file", "store"),
    ("tls", "client_certificates"): ("none", "optional", "required"),
    ("http", "log_level"): ("debug", "info", "warning", "error"),
}


def default_directory() -> Path:
    """Return the KMS's directory when no option names it: `SIPMIKEY_KMSD_DIR`, or `kms` here."""
    return Path(os.environ.get(DIRECTORY_VARIABLE) or "kms")


def load(directory: Path) -> KmsConfiguration:
    """Read `kms.toml` in *directory*; raise ConfigurationError saying which key is wrong and how."""
    path = directory / CONFIG_NAME
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no KMS in {directory} ({CONFIG_NAME} is missing): "
            f"make one with `sipmikey kms init --dir {directory} --identity URI`, or name another with --dir"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    peers = document.pop("peers", {})
    for name in document:
        if name not in SECTIONS:
            raise ConfigurationError(
                f"{path}: unknown section [{name}]; {nearest(name, (*SECTIONS, 'peers'))}"
            )
    sections: dict[str, Any] = {
        name: _section(path, name, kind, document.get(name, {})) for name, kind in SECTIONS.items()
    }
    if not isinstance(peers, dict):
        raise ConfigurationError(f'{path}: peers are sections: write [peers."sip:kms@example.org"]')
    return KmsConfiguration(
        directory=directory,
        peers={
            identity: _section(path, f'peers."{identity}"', PeerSection, table)
            for identity, table in peers.items()
        },
        **sections,
    )


def _section(path: Path, name: str, kind: type[S], table: object) -> S:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {name} is a section: write [{name}]")
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in hints:
            raise ConfigurationError(f"{path}: unknown key {name}.{key}; {nearest(key, tuple(hints))}")
        try:
            values[key] = _value(hints[key], value, path.parent)
        except ValueError as error:
            raise ConfigurationError(f"{path}: {name}.{key} {error}") from None
        words = WORDS.get((name, key))
        if words is not None and value not in words:
            raise ConfigurationError(f"{path}: {name}.{key}: unknown word; {nearest(str(value), words)}")
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name in values:
            continue
        if entry.default is MISSING:
            raise ConfigurationError(f"{path}: {name}.{entry.name} is missing")
        if isinstance(entry.default, Path):
            values[entry.name] = path.parent / entry.default
    return kind(**values)


def _value(kind: Any, value: object, base: Path) -> object:
    """Return *value* as *kind*, paths made relative to *base*; raise ValueError saying what it needs."""
    if isinstance(kind, types.UnionType):
        kind = next(option for option in typing.get_args(kind) if option is not types.NoneType)
        if value == "":
            return None
    if kind is Path:
        if not isinstance(value, str) or not value:
            raise ValueError("needs the name of a file")
        return base / Path(value).expanduser()
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError("needs a list of texts")
        return tuple(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if kind is str and isinstance(value, str):
        return value
    names = {float: "a number, 0 or more", int: "a whole number, 0 or more", str: "text"}
    raise ValueError(f"needs {names[kind]}, not {value!r}")
