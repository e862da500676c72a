"""Merging the configuration: options over `SIPMIKEY_*` variables over the TOML file over the defaults."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sipmikey import key_file
from sipmikey.cli.config.place import default_path
from sipmikey.cli.config.schema import SECTIONS, Configuration
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError, MergedSettings, Value, merge, nearest, settings

PREFIX = "SIPMIKEY_"
OWN_VARIABLES = frozenset({"SIPMIKEY_CONFIG", "SIPMIKEY_DEBUG", "SIPMIKEY_PURE"})
"""Variables with this prefix that are not settings."""

FOREIGN_PREFIXES = ("SIPMIKEY_TEST_", "SIPMIKEY_KMSD_", "SIPMIKEY_MAILBOXD_")
"""Prefixes of variables that belong to the test kit and to the servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfiguration:
    """A configuration, and where each value came from.

    ``merged`` has every value with its origin. ``path`` is the file that was read. ``warnings`` are problems
    that do not prevent a call.
    """

    configuration: Configuration
    merged: MergedSettings
    path: Path | None
    warnings: tuple[str, ...]


def variable(section: str, key: str) -> str:
    """Return the environment variable of a setting: `SIPMIKEY_KMS_URL` for `kms.url`."""
    return f"{PREFIX}{section}_{key}".upper()


def load(
    *,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[tuple[str, str], object] | None = None,
) -> LoadedConfiguration:
    """Return the merged configuration.

    *path* is the file named by `--config`; without it `SIPMIKEY_CONFIG` and then the default place are
    tried. *environment* is `os.environ` by default. *options* maps (section, key) to what the command line
    gave. Raises ConfigurationError naming the key, the word and what is allowed.
    """
    environment = os.environ if environment is None else environment
    found, named = _find(path, environment)
    variables = {(section, key): variable(section, key) for section, key, _, _ in settings(SECTIONS)}
    _reject_unknown_variables(environment, tuple(variables.values()))
    merged = merge(SECTIONS, path=found, variables=variables, environment=environment, options=options)
    warnings = _warnings(found, merged.values, merged.origins)
    _check(merged.values)
    return LoadedConfiguration(
        configuration=Configuration(**merged.sections(SECTIONS)),
        merged=merged,
        path=found if named or found else None,
        warnings=warnings,
    )


def _find(path: Path | None, environment: Mapping[str, str]) -> tuple[Path | None, bool]:
    """Return the file to read, if any, and whether the user named it."""
    if path is None and environment.get("SIPMIKEY_CONFIG"):
        path = Path(environment["SIPMIKEY_CONFIG"])
    if path is not None:
        return path.expanduser(), True
    usual = default_path(environment)
    return (usual if usual.is_file() else None), False


def _reject_unknown_variables(environment: Mapping[str, str], known: tuple[str, ...]) -> None:
    for name in environment:
        if not name.startswith(PREFIX) or name in known or name in OWN_VARIABLES:
            continue
        if not name.startswith(FOREIGN_PREFIXES):
            raise ConfigurationError(f"unknown variable {name}; {nearest(name, known)}")


def _check(values: Mapping[tuple[str, str], Value]) -> None:
    """Check what takes more than one field."""
    for section, plain, file in (("credentials", "password", "password_file"), ("kms", "psk", "psk_file")):
        if values[section, plain] is not None and values[section, file] is not None:
            raise ConfigurationError(f"{section}.{plain} and {section}.{file} are both set: keep one")
    url = cast(str, values["kms", "url"])
    if url and not values["identity", "uri"]:
        raise ConfigurationError("kms.url is set and identity.uri is not: the KMS must know who asks")


def _warnings(
    path: Path | None, values: Mapping[tuple[str, str], Value], origins: Mapping[tuple[str, str], str]
) -> tuple[str, ...]:
    warnings: list[str] = []
    secrets = [
        ".".join(name)
        for name, value in values.items()
        if isinstance(value, Secret) and origins[name] == "file"
    ]
    if path is not None and secrets and (mode := _too_open(path)):
        warnings.append(
            f"{path} holds {' and '.join(secrets)} and others may read it ({mode}): chmod 600 {path}"
        )
    for name in (("credentials", "password_file"), ("kms", "psk_file")):
        file = values[name]
        if isinstance(file, Path) and file.exists() and (mode := _too_open(file)):
            warnings.append(f"{file} ({'.'.join(name)}) may be read by others ({mode}): chmod 600 {file}")
    if values["security", "policy"] != "required":
        warnings.append(f"security.policy is {values['security', 'policy']}: calls may go out unprotected")
    return tuple(warnings)


def _too_open(path: Path) -> str:
    """Return the file's mode when group or others may read it, or an empty text."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"mode {mode:04o}" if mode & (stat.S_IRGRP | stat.S_IROTH) else ""


def read_secret_file(path: Path, name: str) -> Secret:
    """Return the secret in the first line of *path*. *name* is for the text of a ``ConfigurationError``."""
    try:
        return key_file.read_secret_file(path, name)
    except LocalError as error:
        raise ConfigurationError(str(error)) from None
