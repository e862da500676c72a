"""Command lines that name what was probably meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import NoReturn

_WRONG = re.compile(r"invalid choice: '([^']*)'|(?<![\w-])(--[\w-]+)")


class SuggestingParser(argparse.ArgumentParser):
    """Adds "did you mean" to the error for an option or command that there is not. So do its subparsers."""

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
