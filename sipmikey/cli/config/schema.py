"""What can be configured: one frozen dataclass a section, each field with its own description and check.

The same table makes the TOML keys, the `SIPMIKEY_*` variables, the command-line options, the error texts and
the reference in the README, so that they cannot disagree.
"""

# ruff: noqa: RUF009 (what `_setting` returns is a dataclass field)

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

Value = str | int | float | bool | Path | Secret | tuple[str, ...] | Mapping[str, str] | None


class ConfigurationError(LocalError):
    """The configuration holds an unknown key, an unknown word or a value that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be configured.

    ``read`` turns the TOML value or the text of an option or variable into the field's value, raising
    ValueError with the reason. ``option`` is the command-line option, if it has one; ``flag`` is what the
    option without a value stands for.
    """

    help: str
    read: Callable[[object], Value]
    words: tuple[str, ...] = ()
    option: str | None = None
    metavar: str | None = None
    flag: str | None = None
    secret: bool = False


def nearest(word: str, allowed: tuple[str, ...]) -> str:
    """Return the text that names *allowed* and the word of them that was probably meant."""
    close = get_close_matches(word, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"allowed: {', '.join(allowed)}{hint}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"needs text, not {_kind(value)}")
    if not value.strip() or any(ord(character) < 0x20 for character in value):
        raise ValueError("must not be empty or hold control characters")
    return value.strip()


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), "text" if isinstance(value, str) else type(value).__name__)


def _uri(*schemes: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _text(value)
        scheme, colon, rest = text.partition(":")
        if not colon or scheme.lower() not in schemes or not rest or any(c in text for c in ' <>"'):
            raise ValueError(f"{text!r} is no {' or '.join(schemes)} URI")
        return text

    return read


def _word(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _text(value)
        if text not in words:
            raise ValueError(f"unknown word {text!r}; {nearest(text, words)}")
        return text

    return read


def _words(*words: str) -> Callable[[object], tuple[str, ...]]:
    """A list of *words* without repetition, in order of preference; as text, separated by commas."""
    one = _word(*words)

    def read(value: object) -> tuple[str, ...]:
        chosen = tuple(one(item) for item in _items(value))
        if not chosen or len(set(chosen)) != len(chosen):
            raise ValueError(f"needs one or more of {', '.join(words)}, each once")
        return chosen

    return read


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"needs a list, not {_kind(value)}")


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in _items(value))


def _seconds(least: float, most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        try:
            number = float(value) if isinstance(value, str | int | float) else math.nan
        except ValueError:
            number = math.nan
        if isinstance(value, bool) or not least <= number <= most:
            raise ValueError(f"needs seconds between {least:g} and {most:g}, not {value!r}")
        return number

    return read


def _boolean(value: object) -> bool:
    table: dict[object, bool] = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in table:
        return table[value.lower()]
    raise ValueError(f"needs true or false, not {value!r}")


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _secret(value: object) -> Secret:
    return Secret(_text(value).encode())


def _endpoint(value: object) -> str:
    """`HOST:PORT`, an IPv6 host in brackets; port 0 lets the system choose."""
    text = _text(value)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"needs HOST:PORT, not {text!r}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"an IPv6 host stands in brackets: [{host}]:{port}")
    return text


def _count(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"needs a number from {least} to {most}, not {value!r}")
        return number

    return read


def _pairs(value: object) -> dict[str, object]:
    """A TOML table, or `name=value,name=value` as text."""
    if isinstance(value, dict):
        return value
    pairs = [_text(item).partition("=") for item in _items(value)]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("needs a table, or name=value separated by commas")
    return {name.strip(): word.strip() for name, _, word in pairs}


def _urls(value: object) -> Mapping[str, str]:
    identity, url = _uri("sip", "sips", "kms"), _uri("https", "http")
    return MappingProxyType({identity(name): url(text) for name, text in _pairs(value).items()})


def _contacts(value: object) -> Mapping[str, str]:
    contact, policy = _uri("sip", "sips", "tel"), _word(*POLICIES)
    return MappingProxyType({contact(name): policy(word) for name, word in _pairs(value).items()})


def _headers(value: object) -> Mapping[str, str]:
    return MappingProxyType({_text(name): _text(text) for name, text in _pairs(value).items()})


def _setting(default: Value, help: str, read: Callable[[object], Value], **more: Any) -> Any:
    """Declare a field: its default and the `Setting` that describes it."""
    metadata = {"setting": Setting(help=help, read=read, **more)}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


NOTHING: Mapping[str, str] = MappingProxyType({})
POLICIES = ("required", "preferred", "off")
FALLBACKS = ("never", "incoming", "both")
ALTERNATIVES = ("none", "sdes", "sdes-without-tls")
RETARGETS = ("accept", "ask", "refuse")
ENGINES = ("native", "python")
SUITES = ("256", "128")
TRANSPORTS = ("udp", "tcp", "tls")
DEVICES = ("default", "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this agent is."""

    uri: str = _setting("", "our SIP identity", _uri("sip", "sips"), option="--identity", metavar="URI")
    display_name: str = _setting(
        "", "name shown to the other side", _text, option="--display-name", metavar="NAME"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the SIP registrar or proxy asks for (digest). The key shared with the KMS is in `[kms]`."""

    username: str = _setting(
        "", "digest user name (by default the user part of the identity)", _text, option="--username",
        metavar="NAME",
    )  # fmt: skip
    realm: str = _setting("*", "digest realm these credentials are for; * is any", _text)
    password: Secret | None = _setting(None, "digest password; better in a file", _secret, secret=True)
    password_file: Path | None = _setting(
        None, "file that holds the digest password", _path, option="--password-file", metavar="FILE"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sip:
    """Signalling."""

    listen: str = _setting(
        "0.0.0.0:0", "address and port of all transports; port 0: any", _endpoint, option="--listen",
        metavar="HOST:PORT",
    )  # fmt: skip
    transports: tuple[str, ...] = _setting(
        ("udp", "tcp"), "transports to open", _words(*TRANSPORTS), words=TRANSPORTS, option="--transports",
        metavar="WORD,...",
    )  # fmt: skip
    prefer: str = _setting(
        "", "transport for our requests (by default UDP; TCP for what is too large for it, and over IPv6)",
        _word(*TRANSPORTS), words=TRANSPORTS,
    )  # fmt: skip
    public_address: str = _setting("", "address to give to others, where it is not our own", _text)
    registrar: str = _setting(
        "", "registrar; without one there is no registration", _uri("sip", "sips"), option="--registrar",
        metavar="URI",
    )  # fmt: skip
    registration_expires: float = _setting(300.0, "life of a registration, seconds", _seconds(10, 86400))
    proxy: str = _setting("", "outbound proxy", _uri("sip", "sips"), option="--proxy", metavar="URI")
    trusted_proxies: tuple[str, ...] = _setting((), "addresses whose P-Asserted-Identity is believed", _texts)
    tls_ca_file: Path | None = _setting(None, "certificates to verify SIP peers by", _path)
    tls_certificate_file: Path | None = _setting(None, "our certificate for SIP over TLS", _path)
    tls_private_key_file: Path | None = _setting(None, "its private key", _path)
    headers: Mapping[str, str] = _setting(NOTHING, "headers of your own in our requests", _headers)
    session_expires: float = _setting(1800.0, "session timer (RFC 4028), seconds", _seconds(90, 86400))
    redirects: int = _setting(5, "redirections (3xx) a call follows at most; 0: none", _count(0, 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kms:
    """The key management service and what is shared with it."""

    url: str = _setting("", "base URL of the KMS", _uri("https", "http"), option="--kms", metavar="URL")
    identity: str = _setting(
        "", "identity of the KMS (IDRkms)", _uri("sip", "sips", "kms"), option="--kms-identity", metavar="URI"
    )
    others: Mapping[str, str] = _setting(
        NOTHING, "URLs of further KMSs by their identity, for tickets of other domains", _urls
    )
    psk: Secret | None = _setting(None, "the pre-shared key; better in a file", _secret, secret=True)
    psk_file: Path | None = _setting(
        None, "file that holds the pre-shared key", _path, option="--psk-file", metavar="FILE"
    )
    psk_id: str = _setting(
        "", "name of the pre-shared key (IDRpsk), where the KMS gave one", _text, option="--psk-id",
        metavar="NAME",
    )  # fmt: skip
    ca_file: Path | None = _setting(
        None, "certificates to verify the KMS by, instead of the system's", _path, option="--kms-ca",
        metavar="FILE",
    )  # fmt: skip
    certificate_file: Path | None = _setting(None, "our certificate, if the KMS asks for one", _path)
    private_key_file: Path | None = _setting(None, "its private key", _path)
    plain_http: bool = _setting(False, "allow http:// to a KMS that is not on this machine", _boolean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a call must be."""

    policy: str = _setting(
        "required", "protection by MIKEY-TICKET", _word(*POLICIES), words=POLICIES, option="--security"
    )
    fallback: str = _setting(
        "never", "which calls may be in clear under `preferred`", _word(*FALLBACKS), words=FALLBACKS
    )
    alternative: str = _setting(
        "none", "other keying of calls under `preferred`", _word(*ALTERNATIVES), words=ALTERNATIVES
    )
    contacts: Mapping[str, str] = _setting(
        NOTHING, "policy for single contacts by URI, instead of the general one", _contacts
    )
    retarget: str = _setting(
        "accept", "another identity that answers than the one dialled", _word(*RETARGETS), words=RETARGETS
    )
    transfer: bool = _setting(False, "let calls be transferred, to whom the other side says", _boolean)
    suites: tuple[str, ...] = _setting(
        SUITES, "suites of RFC 6043 section 12.1, best first", _words(*SUITES), words=SUITES,
        option="--suites", metavar="SUITE,...",
    )  # fmt: skip
    clock_skew: float = _setting(300.0, "tolerated difference of clocks, seconds", _seconds(0, 86400))


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Sound."""

    device: str = _setting("default", "sound device", _word(*DEVICES), words=DEVICES)
    engine: str = _setting(
        "native", "what runs the media: pjmedia, or Python (G.711, suite 128)", _word(*ENGINES), words=ENGINES
    )
    play: Path | None = _setting(None, "WAV file to send", _path, option="--play", metavar="WAV")
    repeat: bool = _setting(False, "play it over and over", _boolean)
    record: Path | None = _setting(
        None, "WAV file to write what is heard to", _path, option="--record", metavar="WAV"
    )
    streams: int = _setting(1, "audio streams to offer", _count(1, 4))
    codecs: tuple[str, ...] = _setting(("PCMA", "PCMU"), "codecs, best first", _texts)
    rtp_port: int = _setting(0, "first RTP port; 0: any", _count(0, 65534))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds."""

    kms: float = _setting(
        5.0, "for an answer of the KMS", _seconds(0.01, 600), option="--kms-timeout", metavar="SECONDS"
    )
    setup: float = _setting(
        60.0, "for the call to be answered", _seconds(0.1, 3600), option="--ring-timeout", metavar="SECONDS"
    )
    register: float = _setting(10.0, "for the registrar", _seconds(0.1, 600))
    media: float = _setting(5.0, "for the first packet that proves the keys", _seconds(0.1, 600))
    decision: float = _setting(
        30.0, "for the user to accept another identity (`security.retarget`)", _seconds(0.1, 600)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All of it, merged and checked."""

    identity: Identity = Identity()
    credentials: Credentials = Credentials()
    sip: Sip = Sip()
    kms: Kms = Kms()
    security: Security = Security()
    media: Media = Media()
    timeouts: Timeouts = Timeouts()


SECTIONS: dict[str, type] = {
    "identity": Identity,
    "credentials": Credentials,
    "sip": Sip,
    "kms": Kms,
    "security": Security,
    "media": Media,
    "timeouts": Timeouts,
}


def settings() -> Iterator[tuple[str, str, Setting, Value]]:
    """Yield (section, key, setting, default) of everything that can be configured, in order."""
    for section, kind in SECTIONS.items():
        plain = kind()
        for entry in fields(kind):
            yield section, entry.name, entry.metadata["setting"], getattr(plain, entry.name)
