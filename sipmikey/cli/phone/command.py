"""`sipmikey phone`: the phone in a window, or in the terminal with `--tui`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from sipmikey.cli.config.load import default_path, load
from sipmikey.cli.exit_codes import ExitCode, table
from sipmikey.cli.phone.reports import reporter
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.phone.edge.store import Store
from sipmikey.phone.fold import contact_document, fold, replay
from sipmikey.phone.links import link_target
from sipmikey.phone.text import Translate
from sipmikey.sealed.vault import Vault, data_folder, system_keyring

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


def _set_up(args: argparse.Namespace) -> bool:
    """Return True when there is an account to open."""
    return bool(args.config or os.environ.get("SIPMIKEY_CONFIG")) or default_path(os.environ).is_file()


def _first_start(args: argparse.Namespace, vault: Vault, tr: Translate) -> bool:
    """Set the first account up, where a user can be asked; return True when that was done."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if not (sys.stdin.isatty() if args.tui else any(os.environ.get(name) for name in displays)):
        return True  # `accounts` says what to do
    if args.tui:
        from sipmikey.cli.main import main

        return main(["setup"]) == ExitCode.OK
    from sipmikey.cli.phone.steps import AccountSteps
    from sipmikey.gui.run import run_assistant

    return run_assistant(AccountSteps(default_path(os.environ), vault), tr=tr)


def accounts(args: argparse.Namespace) -> list[tuple[Line, Sequence[str]]]:
    """Return the accounts to open, each with the options of its agent. Raises ``LocalError``."""
    paths: list[Path | None] = list(args.config or [None])
    if not _set_up(args):
        raise LocalError("no account is set up: run sipmikey setup (or give --config FILE)")
    opened: list[tuple[Line, Sequence[str]]] = []
    for path in paths:
        loaded = load(path=path)
        name = "" if len(paths) == 1 else loaded.path.stem if loaded.path is not None else ""
        options = [] if path is None else ["--config", str(path)]
        line = Line(name, loaded.configuration.identity.uri)
        opened.append((line, [*options, *args.agent_option]))
    names = [line.name for line, _ in opened]
    if len(set(names)) != len(names):
        raise LocalError("two configuration files have the same name: accounts are called after them")
    return opened


def run(args: argparse.Namespace) -> int:
    """Open the phone and return when it is closed."""
    folder: Path = args.data or data_folder()
    vault = Vault(folder, system_keyring())
    with closing(Store(folder / "phone.db", vault.key("phone.db"))) as store:
        if args.import_ is not None or args.export is not None:
            return _exchange(args, store)
        tr = translation([args.language] if args.language else None)
        if not _set_up(args) and not _first_start(args, vault, tr):
            return ExitCode.OK
        opened = accounts(args)
        books = _books(args)
        domain = opened[0][0].identity.rpartition("@")[2].partition(":")[0]
        wanted = link_target(args.link, domain=domain) if args.link else ""
        paths = dict(zip((line.name for line, _ in opened), args.config or [None], strict=True))
        report = reporter(paths, folder / "reports")
        if args.tui:
            from sipmikey.tui.app import PhoneApp

            PhoneApp(opened, store=store, tr=tr, wanted=wanted, books=books, report=report).run()
            return ExitCode.OK
        from sipmikey.gui.run import run_window

        return run_window(opened, store=store, tr=tr, wanted=wanted, books=books, report=report)


def _books(args: argparse.Namespace) -> Callable[[], Iterator[dict[str, Any]]] | None:
    """Return what reads the address books of the accounts, None where there are none."""
    named = [load(path=path).configuration.address_book for path in args.config or [None]]
    if not any(book.url for book in named):
        return None
    from sipmikey.cli.phone.books import documents, servers

    return partial(documents, servers(named))


def _exchange(args: argparse.Namespace, store: Store) -> int:
    """Import or export contacts."""
    from sipmikey.phone.edge.vcards import read_vcards, write_vcards

    phone = replay(store.documents())
    try:
        if args.import_ is not None:
            found = read_vcards(args.import_.read_text(encoding="utf-8"))
            after = phone
            for contact in found:
                after = fold(after, contact_document(contact))
            store.keep(phone, after)
            print(f"{len(found)} contacts imported")
        if args.export is not None:
            args.export.write_text(write_vcards(phone.contacts), encoding="utf-8")
            print(f"{len(phone.contacts)} contacts written to {args.export}")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{args.import_ or args.export}: {error}") from None
    return ExitCode.OK
