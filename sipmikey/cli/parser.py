"""Command lines that name what was probably meant, and show examples and exit codes in their help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NoReturn

from sipmikey.cli.exit_codes import table

_WRONG = re.compile(r"invalid choice: '([^']*)'|(?<![\w-])(--[\w-]+)")


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    *,
    help: str,
    examples: str,
    description: str | None = None,
) -> argparse.ArgumentParser:
    """Add one verb of a command; *help* is its description too where there is none."""
    return verbs.add_parser(
        name,
        help=help,
        description=description or help[0].upper() + help[1:] + ".",
        epilog=f"examples:\n{examples.rstrip()}\n\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


class SuggestingParser(argparse.ArgumentParser):
    """Adds "did you mean" to the error for an option or command that does not exist. So do its subparsers."""

    def error(self, message: str) -> NoReturn:
        known = sorted(set(_names(self)))
        for choice, option in _WRONG.findall(message):
            close = get_close_matches(choice or option, known, n=1, cutoff=0.6)
            if close and close[0] != option:
                message = f"{message}; did you mean {close[0]}?"
                break
        super().error(message)


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options and commands of *parser* and of the commands below it."""
    for action in parser._actions:
        yield from (name for name in action.option_strings if name.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from _names(below)
