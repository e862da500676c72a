"""`sipmikey phone`: the phone in a window, or in the terminal with `--tui`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sipmikey.cli.exit_codes import table

EXAMPLES = """\
examples:
  sipmikey setup                         five questions, once
  sipmikey phone                         the phone in a window
  sipmikey phone --tui                   the phone in the terminal
  sipmikey phone --config home.toml --config work.toml     two accounts
  sipmikey phone sip:bob@example.com     asks whether to call, as a link in a browser does
  sipmikey phone --import people.vcf
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `phone` and its options."""
    parser = subparsers.add_parser(
        "phone",
        help="the phone: a window, or a terminal with --tui",
        description="Make and take calls in a window, or in the terminal.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("link", nargs="?", metavar="LINK", help="sip: or tel: link; you are asked first")
    parser.add_argument("--tui", action="store_true", help="in the terminal")
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="FILE",
        help="configuration of an account; may be given several times",
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where contacts and history are kept")
    parser.add_argument(
        "--language", metavar="CODE", help="en, de; by default the language of the environment"
    )
    parser.add_argument(
        "--import", dest="import_", type=Path, metavar="VCARDS", help="add contacts, and exit"
    )
    parser.add_argument("--export", type=Path, metavar="VCARDS", help="write the contacts, and exit")
    parser.add_argument(
        "--agent-option", action="append", default=[], metavar="OPTION", help=argparse.SUPPRESS
    )


def run(args: argparse.Namespace) -> int:
    """Open the phone and return when it is closed."""
    # What makes the calls takes longest to load: it starts before the face is loaded, and beside it.
    from sipmikey.cli.phone.ahead import start_ahead

    ahead = start_ahead(args)
    from sipmikey.cli.phone.opening import open_phone

    return open_phone(args, ahead)
