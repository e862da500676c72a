"""Settings shown: a table of what can be set, and the merged values with their origins, secrets masked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sipmikey.mikey.secret import Secret
from sipmikey.settings.merge import MergedSettings
from sipmikey.settings.schema import Section, Value, settings

MASK = "********"

_URL_PASSWORD = re.compile(r"(?<=://)([^/@:]*:)[^/@]*@|(?<=[?&]password=)[^&]*")


def reference_table(kinds: Mapping[str, Section], *, options: bool) -> str:
    """Return every setting as a row of a Markdown table, with a column for command-line *options* or not."""
    head = ["key", "option", "default", "meaning"] if options else ["key", "default", "meaning"]
    rows = [_row(head), _row(["---"] * len(head)).replace(" ", "")]
    for section, key, described, default in settings(kinds):
        option = [f"`{described.option}`" if described.option else ""] if options else []
        usual = "" if plain(default) in ("", None, {}, []) else f"`{_toml(plain(default))}`"
        words = f" ({', '.join(described.words)})" if described.words else ""
        required = "required; " if described.required else ""
        rows.append(_row([f"`{section}.{key}`", *option, usual, f"{required}{described.help}{words}"]))
    return "\n".join(rows)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_document(merged: MergedSettings) -> dict[str, Any]:
    """Return each setting as ``{"value": ..., "origin": ...}``, by its dotted name."""
    return {
        f"{section}.{key}": {"value": plain(value), "origin": merged.origins[section, key]}
        for (section, key), value in merged.values.items()
    }


def as_toml(merged: MergedSettings) -> str:
    """Return the settings as TOML, the origin of each beside it; one without a value is a comment."""
    lines: list[str] = []
    last = ""
    for (section, key), value in merged.values.items():
        if section != last:
            lines += ["", f"[{section}]"]
            last = section
        shown = plain(value)
        if shown in ("", None):
            lines.append(f"# {key} is not set")
        else:
            lines.append(f"{key} = {_toml(shown)}  # {merged.origins[section, key]}")
    return "\n".join(lines[1:])


def plain(value: Value) -> Any:
    """Return *value* as JSON can write it, a secret and the password in a URL masked."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return _URL_PASSWORD.sub(lambda found: f"{found[1]}{MASK}@" if found[1] else MASK, value)
    return list(value) if isinstance(value, tuple) else value


def _toml(value: Any) -> str:
    """Return *value* as TOML, which writes scalars and lists as JSON does, and tables its own way."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
