"""`sipmikey config`: what can be configured, and what file, variables and options make together."""

from __future__ import annotations

import argparse

from sipmikey.cli.config.options import add_options, load_from
from sipmikey.cli.config.schema import SECTIONS
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.output import Output
from sipmikey.settings import as_document, as_toml, reference_table

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
    print(reference())
    return ExitCode.OK


def reference() -> str:
    """Return every setting as a row of a Markdown table. docs/configuration.md holds it."""
    return reference_table(SECTIONS, options=True)


def _show(args: argparse.Namespace) -> int:
    """Print the merged configuration."""
    loaded = load_from(args)
    output = Output(as_json=args.json)
    output.document(
        {
            "type": "config",
            "file": loaded.path,
            "settings": as_document(loaded.merged),
            "warnings": loaded.warnings,
        }
    )
    output.text(as_toml(loaded.merged))
    return ExitCode.OK
