"""`sipmikey config`: what can be configured, and what file, variables and options make together."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from sipmikey.cli.config.load import Loaded
from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.config.schema import Value, settings
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import JsonValue, Output
from sipmikey.mikey.secret import Secret

MASK = "********"

EXAMPLES = """\
examples:
  sipmikey config show
  sipmikey config show --config alice.toml --security preferred
  SIPMIKEY_KMS_URL=https://kms.example.com sipmikey config show --json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `config` and its actions."""
    parser = subparsers.add_parser("config", help="show the merged configuration, secrets masked")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser(
        "show",
        help="print every setting, its value and where it came from",
        description="Print the configuration as TOML that can be kept as a file. Secrets are masked.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("--json", action="store_true", help="one JSON document instead")
    add_options(show)
    show.set_defaults(config_run=_show)
    reference = actions.add_parser(
        "reference",
        help="print what can be configured, as Markdown",
        description="Print every setting with its key, option, default and meaning, as Markdown.",
    )
    reference.set_defaults(config_run=_reference)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    code: int = args.config_run(args)
    return code


def _reference(args: argparse.Namespace) -> int:
    print(reference_table())
    return ExitCode.OK


def reference_table() -> str:
    """Return every setting as a row of a Markdown table. The README holds it, and a test compares."""
    rows = ["| key | option | default | meaning |", "|---|---|---|---|"]
    for section, key, setting, default in settings():
        option = f"`{setting.option}`" if setting.option else ""
        usual = "" if _plain(default) in ("", None, {}, []) else f"`{_toml(_plain(default))}`"
        words = f" ({', '.join(setting.words)})" if setting.words else ""
        rows.append(f"| `{section}.{key}` | {option} | {usual} | {setting.help}{words} |")
    return "\n".join(rows)


def _show(args: argparse.Namespace) -> int:
    """Print the merged configuration."""
    loaded = load_from(args)
    output = Output(as_json=args.json)
    output.document(
        {
            "type": "config",
            "file": loaded.path,
            "settings": {
                f"{section}.{key}": {"value": _plain(value), "origin": loaded.origins[section, key]}
                for section, key, value in _values(loaded)
            },
            "warnings": loaded.warnings,
        }
    )
    output.text(as_toml(loaded))
    return ExitCode.OK


def as_toml(loaded: Loaded) -> str:
    """Return the configuration as TOML; a setting without a value stands as a comment."""
    lines: list[str] = []
    last = ""
    for section, key, value in _values(loaded):
        if section != last:
            lines += ["", f"[{section}]"]
            last = section
        origin = loaded.origins[section, key]
        plain = _plain(value)
        if plain in ("", None):
            lines.append(f"# {key} is not set")
        else:
            lines.append(f"{key} = {_toml(plain)}  # {origin}")
    return "\n".join(lines[1:])


def _values(loaded: Loaded) -> list[tuple[str, str, Value]]:
    return [
        (section, key, getattr(getattr(loaded.configuration, section), key))
        for section, key, _, _ in settings()
    ]


def _toml(value: JsonValue) -> str:
    """Return *value* as TOML, which writes scalars and lists as JSON does, and tables its own way."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Value) -> JsonValue:
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value
