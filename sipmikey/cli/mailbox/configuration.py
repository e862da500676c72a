"""What a mailbox's `mailbox.toml` holds: one frozen dataclass a section, each field described and checked.

The same table makes the keys of the file, the error texts, `sipmikey mailbox config` and docs/deferred.md.
"""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sipmikey.cli.kms.configuration import LOG_LEVELS, PLAIN_HTTP_WORDS, TlsSection
from sipmikey.settings import ConfigurationError, MergedSettings, Section, merge, setting
from sipmikey.settings import readers as read

CONFIG_NAME: Final = "mailbox.toml"
DIRECTORY_VARIABLE: Final = "SIPMIKEY_MAILBOXD_DIR"

DEPOSITORS = ("anyone", "members")


def _path(value: object) -> str:
    found = read.text(value).rstrip("/")
    if not found.startswith("/") or not found.isascii() or any(c in found for c in " %?#"):
        raise ValueError("needs a path such as /mailbox")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSection:
    """Where the mailbox serves, what it takes, and how long it keeps it."""

    listen: tuple[str, ...] = setting(("127.0.0.1:8044",), "addresses to serve, `HOST:PORT`", read.texts)
    plain_http: str = setting(
        "",
        f'`"{PLAIN_HTTP_WORDS}"` serves plain HTTP on addresses that are not loopback',
        read.optional_text,
    )
    path: str = setting("/mailbox", "begins the path of every URL", _path)
    store: Path = setting(Path("mailbox.sqlite"), "the file that everything is kept in", read.path)
    deposits: str = setting(
        "anyone",
        "who may leave messages: anyone, or members, who have a box here and prove it",
        read.word(*DEPOSITORS),
        words=DEPOSITORS,
    )
    keep_days: float = setting(30.0, "days until a message is deleted", read.number(0.001, 3650, "days"))
    message_bytes: int = setting(
        2_097_152, "largest message; a minute is about 0.6 MB", read.count(1_000, 16_000_000)
    )
    box_messages: int = setting(100, "most messages in a box", read.count(1))
    box_bytes: int = setting(52_428_800, "most octets in a box", read.count(1_000))
    source_messages: int = setting(
        20, "most messages of one source at a time: an IPv4 address or an IPv6 /64", read.count(1)
    )
    deposits_per_minute: float = setting(
        6.0, "messages a minute that one source may leave", read.number(0.01, 1e6, "messages")
    )
    requests_per_second: float = setting(
        20.0, "requests a second of one source", read.number(0.01, 1e6, "requests")
    )
    trusted_proxies: tuple[str, ...] = setting(
        (), "addresses of proxies whose X-Forwarded-For is believed", read.texts
    )
    connections: int = setting(
        128, "connections at a time; one source may have a quarter of them", read.count(1, 10_000)
    )
    request_s: float = setting(30.0, "seconds for a request to arrive", read.seconds(0.1, 3600))
    idle_s: int = setting(30, "seconds that an idle connection is kept", read.count(1))
    shutdown_s: int = setting(10, "seconds for requests under way at shutdown", read.count(0))
    log_level: str = setting("info", "least level logged", read.word(*LOG_LEVELS), words=LOG_LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MwiSection:
    """Telling users that messages wait (RFC 3842)."""

    proxy: str = setting(
        "", "SIP proxy that NOTIFY requests are sent to over UDP, `HOST:PORT`; empty: none are sent",
        read.optional_text,
    )  # fmt: skip
    identity: str = setting(
        "sip:mailbox@localhost", "the mailbox's own SIP URI, sent as From", read.uri("sip", "sips")
    )
    again: float = setting(
        60.0, "seconds until a user who could not be told is told again", read.seconds(1, 86_400)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxConfiguration:
    """All of `mailbox.toml`. ``directory`` is where the file is."""

    directory: Path
    mailbox: MailboxSection = MailboxSection()
    tls: TlsSection = TlsSection()
    mwi: MwiSection = MwiSection()


SECTIONS: Final[Mapping[str, Section]] = {"mailbox": MailboxSection, "tls": TlsSection, "mwi": MwiSection}


def load(directory: Path) -> MailboxConfiguration:
    """Read `mailbox.toml` in *directory*; raise ConfigurationError saying which key is wrong and how."""
    return load_merged(directory)[0]


def load_merged(directory: Path) -> tuple[MailboxConfiguration, MergedSettings]:
    """Return the configuration in *directory*, and where each of its values came from."""
    path = directory / CONFIG_NAME
    if not path.exists():
        raise ConfigurationError(
            f"there is no mailbox in {directory} ({CONFIG_NAME} is missing): "
            f"make one with `sipmikey mailbox init --dir {directory}`, or name another with --dir"
        )
    merged = merge(SECTIONS, path=path)
    return MailboxConfiguration(directory=directory, **merged.sections(SECTIONS)), merged
