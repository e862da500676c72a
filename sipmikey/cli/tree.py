"""The parsers of all commands in one tree, from which completion and manual pages are made."""

from __future__ import annotations

import argparse
import importlib
from typing import cast

from sipmikey.cli.main import COMMANDS, Command


def command_tree() -> argparse.ArgumentParser:
    """Return the parser of `sipmikey` with those of every command below it."""
    parser = argparse.ArgumentParser(
        prog="sipmikey", description="SIP calls protected end to end with MIKEY-TICKET (RFC 6043)."
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (path, summary) in COMMANDS.items():
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError:
            subparsers.add_parser(name, help=summary)  # its extra is not installed
        else:
            cast(Command, module).add_parser(subparsers)
    return parser
