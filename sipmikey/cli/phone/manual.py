"""`sipmikey manual`: manual pages in roff, from the parsers that make `--help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from sipmikey import __version__
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.tree import command_tree
from sipmikey.mikey.errors import LocalError

EXAMPLES = """\
examples:
  sipmikey manual ~/.local/share/man/man1
  man sipmikey-phone
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `manual` and its argument."""
    parser = subparsers.add_parser(
        "manual",
        help="write the manual pages",
        description="Write a manual page for each command into a folder.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as ~/.local/share/man/man1")


def run(args: argparse.Namespace) -> int:
    """Write the pages."""
    folder: Path = args.folder.expanduser()
    pages = dict(manual_pages(command_tree(), "sipmikey"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, page in pages.items():
            (folder / f"{name}.1").write_text(page, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{folder}: {error.strerror}") from None
    print(f"{len(pages)} pages written to {folder}")
    return ExitCode.OK


def manual_pages(
    parser: argparse.ArgumentParser, name: str, summary: str = "protected SIP calls"
) -> Iterator[tuple[str, str]]:
    """Yield (name, page) of *parser* and of every command below it."""
    below: list[tuple[str, str, argparse.ArgumentParser]] = []
    options: list[str] = []
    arguments: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below += [(child, helps.get(child, ""), one) for child, one in action.choices.items()]
        elif action.help != argparse.SUPPRESS:
            if not action.option_strings:
                arguments.append(_argument(action))
            options += [
                ".TP",
                _invocation(action),
                _roff(" ".join((action.help or "").replace("%%", "%").split())),
            ]
    after = " ".join(("[options]", *arguments, *(("COMMAND",) if below else ())))
    lines = [
        f'.TH {_roff(name.upper())} 1 "" "sipmikey {__version__}" "User Commands"',
        ".SH NAME", f"{_roff(name)} \\- {_roff(summary)}",
        ".SH SYNOPSIS", f".B {_roff(parser.prog)}", after,
        ".SH DESCRIPTION", _roff(parser.description or summary),
        ".SH OPTIONS", *options,
    ]  # fmt: skip
    if below:
        lines.append(".SH COMMANDS")
        for child, text, _ in below:
            lines += [".TP", f"\\fB{_roff(name)}\\-{_roff(child)}\\fR(1)", _roff(text)]
    if parser.epilog:
        lines += [".SH NOTES", ".nf", _roff(parser.epilog), ".fi"]
    yield name, "\n".join(lines) + "\n"
    for child, text, one in below:
        yield from manual_pages(one, f"{name}-{child}", text)


def _argument(action: argparse.Action) -> str:
    """Return an argument without an option as it stands in the synopsis."""
    name = str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper())
    many = f"{name} ..." if action.nargs in ("*", "+") else name
    return _roff(f"[{many}]" if action.nargs in ("?", "*") else many)


def _invocation(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return f"\\fI{_roff(value)}\\fR"
    names = ", ".join(f"\\fB{_roff(option)}\\fR" for option in action.option_strings)
    return f"{names} \\fI{_roff(value)}\\fR" if value else names


def _roff(text: str) -> str:
    """Return *text* so that roff takes none of it for a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.split("\n"))
