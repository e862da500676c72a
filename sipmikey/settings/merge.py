"""Settings from several places: options over variables over the file over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipmikey.settings.schema import Section, Setting, Value, section_settings, settings
from sipmikey.settings.toml import ConfigurationError, nearest, read_toml

Name = tuple[str, str]
"""Section and key of a setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSettings:
    """The value of every setting, and its origin: `default`, `file`, `environment` or `option`.

    ``path`` is the file that was read, if any.
    """

    values: Mapping[Name, Value]
    origins: Mapping[Name, str]
    path: Path | None

    def sections(self, kinds: Mapping[str, Section]) -> dict[str, Any]:
        """Return an instance of each section in *kinds*, by name."""
        return {
            name: kind(**{key: value for (section, key), value in self.values.items() if section == name})
            for name, kind in kinds.items()
        }


def merge(
    kinds: Mapping[str, Section],
    *,
    path: Path | None = None,
    tables: Mapping[str, Any] | None = None,
    variables: Mapping[Name, str] | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[Name, object] | None = None,
) -> MergedSettings:
    """Return every setting of *kinds* (sections by name).

    *path* is a TOML file, *tables* its content where the caller has read it already. *variables* names the
    variable of *environment* that overrides each setting, *options* holds what the command line gave. Paths
    in a file, and paths that are defaults, are relative to the file. Raises `ConfigurationError`, which
    names the key and what is allowed.
    """
    if tables is None:
        tables = {} if path is None else read_toml(path)
    given = _known(kinds, tables, path)
    values: dict[Name, Value] = {}
    origins: dict[Name, str] = {}
    for section, key, described, default in settings(kinds):
        name = (section, key)
        values[name], origins[name] = relative(default, path), "default"
        if name in given:
            read = read_value(f"{path}: {section}.{key}", described, given[name])
            values[name], origins[name] = relative(read, path), "file"
        variable = (variables or {}).get(name, "")
        if (text := (environment or {}).get(variable)) is not None:
            values[name], origins[name] = read_value(variable, described, text), "environment"
        if (option := (options or {}).get(name)) is not None:
            where = described.option or f"{section}.{key}"
            values[name], origins[name] = read_value(where, described, option), "option"
        if described.required and origins[name] == "default":
            raise ConfigurationError(f"{path}: {section}.{key} is missing")
    return MergedSettings(values=values, origins=origins, path=path)


def read_section(kind: Section, table: object, *, where: str, path: Path) -> Any:
    """Return the section that one TOML *table* of the file *path* makes; *where* names it in errors."""
    merged = merge({where: kind}, path=path, tables={where: table})
    return merged.sections({where: kind})[where]


def read_value(where: str, described: Setting, given: object) -> Value:
    """Return the value of one setting; raise `ConfigurationError` that starts with *where*."""
    try:
        return described.read(given)
    except ValueError as error:
        shown = "cannot be used" if described.secret else str(error)  # a secret is never repeated
        raise ConfigurationError(f"{where}: {shown}") from None


def relative(value: Value, file: Path | None) -> Value:
    """Return a path of *file* relative to where that file is; anything else as it is."""
    if isinstance(value, Path) and file is not None:
        return file.parent / value
    return value


def _known(kinds: Mapping[str, Section], tables: Mapping[str, Any], path: Path | None) -> dict[Name, object]:
    """Return the values of *tables* by name, after a check that every section and key is known."""
    found: dict[Name, object] = {}
    for section, table in tables.items():
        if section not in kinds:
            raise ConfigurationError(f"{path}: unknown section [{section}]; {nearest(section, tuple(kinds))}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path}: {section} is a section: write [{section}]")
        keys = tuple(key for key, _, _ in section_settings(kinds[section]))
        for key, value in table.items():
            if key not in keys:
                raise ConfigurationError(f"{path}: unknown key {section}.{key}; {nearest(key, keys)}")
            found[section, key] = value
    return found
