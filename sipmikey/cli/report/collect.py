"""What a report says of this machine, its packages and the configuration."""

from __future__ import annotations

import os
import platform
import re
import ssl
import stat
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from sipmikey import __version__
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.schema import SECTIONS
from sipmikey.cli.output import JsonValue
from sipmikey.cli.report.redaction import Redactor
from sipmikey.mikey.secret import Secret
from sipmikey.native import description
from sipmikey.settings import MASK, Setting, Value, settings

LONGEST_SECRET_FILE = 65_536

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PUBLIC = re.compile(r"(ca_file|certificates?|certificate_file)$")
"""Settings whose files everybody may read."""

_REDACTED = re.compile(r"(uri|url|identity|listen|address|proxy|registrar|stun|turn|domains|others)s?$")
"""Settings whose text is an address, which the redactor can make into one that means nothing."""


def versions() -> dict[str, JsonValue]:
    """Return what runs: this package, its core, Python, the system and TLS."""
    return {
        "sipmikey": __version__,
        "core": description(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "distribution": _distribution(),
        "libc": " ".join(platform.libc_ver()),
        "openssl": ssl.OPENSSL_VERSION,
        "encoding": sys.stdout.encoding or "",
        "in_a_virtual_environment": sys.prefix != sys.base_prefix,
    }


def _distribution() -> str:
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{found.get('ID', '')} {found.get('VERSION_ID', '')}".strip()


def packages() -> dict[str, JsonValue]:
    """Return the version of each package that sipmikey may use, None where it is not installed."""
    names = {match[0] for text in requires("sipmikey") or () if (match := _NAME.match(text))}
    return {name: _version(name) for name in sorted(names - {"sipmikey"}, key=str.lower)}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def configured(loaded: LoadedConfiguration, redactor: Redactor) -> dict[str, JsonValue]:
    """Return each setting that the user set: its origin, and its value unless that names a person."""
    shown: dict[str, JsonValue] = {}
    for section, key, described, default in settings(SECTIONS):
        value, origin = loaded.merged.values[section, key], loaded.merged.origins[section, key]
        if value != default or origin != "default":
            told = _shown(f"{section}.{key}", value, described, redactor)
            shown[f"{section}.{key}"] = {"value": told, "origin": redactor.text(origin)}
    return shown


def _shown(name: str, value: Value, described: Setting, redactor: Redactor) -> JsonValue:
    if described.secret or isinstance(value, Secret):
        return MASK
    if isinstance(value, Path):
        return _file(value)
    if value is None or isinstance(value, bool | int | float) or described.words:
        return redactor.value(value)
    if isinstance(value, Mapping):
        return [f"{redactor.text(key)} = (set)" for key in value]
    if _REDACTED.search(name) or name in ("media.codecs", "security.groups", "tickets.contacts"):
        return redactor.value(value)
    return "(set)" if value else ""


def _file(path: Path) -> str:
    try:
        found = path.expanduser().stat()
    except OSError as error:
        return f"(a file: {error.strerror})"
    return f"(a file of {found.st_size} octets, mode {stat.S_IMODE(found.st_mode):04o})"


def secrets_of(loaded: LoadedConfiguration) -> Iterator[str]:
    """Yield every secret that the configuration holds, or that a file has which it names."""
    for (section, key), value in loaded.merged.values.items():
        if isinstance(value, Secret):
            yield value.reveal().decode(errors="replace")
        elif isinstance(value, Path) and not key.startswith(("play", "record")) and not _PUBLIC.search(key):
            yield from _lines(value)
        elif isinstance(value, Mapping) and (section, key) in (("kms", "ticket_keys"), ("mailbox", "boxes")):
            for name in value.values():
                yield from _lines(Path(name))
        elif isinstance(value, Mapping) and key.endswith("headers"):
            yield from value.values()


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that may hold a secret; a whole PEM file is as many."""
    try:
        if path.expanduser().stat().st_size > LONGEST_SECRET_FILE:
            return
        text = path.expanduser().read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        if (stripped := line.strip()) and not stripped.startswith("-----"):
            yield stripped
            yield from (part for part in stripped.split(":") if part != stripped)


def variables(environment: Mapping[str, str] = os.environ) -> list[JsonValue]:
    """Return the names of the variables that concern sipmikey; their values are part of the settings."""
    return list[JsonValue](sorted(name for name in environment if name.startswith("SIPMIKEY_")))
