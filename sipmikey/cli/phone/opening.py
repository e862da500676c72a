"""Opening the phone that `sipmikey phone` was asked for."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from sipmikey.cli.config.load import LoadedConfiguration, load
from sipmikey.cli.config.place import default_path
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.phone.ahead import agent_options, set_up
from sipmikey.cli.phone.reports import reporter
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.phone.edge.store import Store
from sipmikey.phone.fold import contact_document, fold, replay
from sipmikey.phone.links import link_target
from sipmikey.phone.text import Translate
from sipmikey.sealed.vault import Vault, data_folder, system_keyring


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


def accounts(args: argparse.Namespace) -> list[tuple[Line, LoadedConfiguration]]:
    """Return the accounts to open. Raises ``LocalError``."""
    paths: list[Path | None] = list(args.config or [None])
    if not set_up(args):
        raise LocalError("no account is set up: run sipmikey setup (or give --config FILE)")
    opened: list[tuple[Line, LoadedConfiguration]] = []
    for path in paths:
        loaded = load(path=path)
        name = "" if len(paths) == 1 else loaded.path.stem if loaded.path is not None else ""
        opened.append((Line(name, loaded.configuration.identity.uri), loaded))
    names = [line.name for line, _ in opened]
    if len(set(names)) != len(names):
        raise LocalError("two configuration files have the same name: accounts are called after them")
    return opened


def open_phone(args: argparse.Namespace, ahead: Sequence[subprocess.Popen[bytes]]) -> int:
    """Open the phone and return when it is closed. *ahead*: the processes of its accounts, where they run."""
    folder: Path = args.data or data_folder()
    vault = Vault(folder, system_keyring())
    with closing(Store(folder / "phone.db", vault.key("phone.db"))) as store:
        if args.import_ is not None or args.export is not None:
            return _exchange(args, store)
        tr = translation([args.language] if args.language else None)
        if not set_up(args) and not _first_start(args, vault, tr):
            return ExitCode.OK
        loaded = accounts(args)
        lines = [line for line, _ in loaded]
        paths = dict(zip((line.name for line in lines), args.config or [None], strict=True))
        opened = [(line, agent_options(args, paths[line.name])) for line in lines]
        domain = lines[0].identity.rpartition("@")[2].partition(":")[0]
        wanted = link_target(args.link, domain=domain) if args.link else ""
        books = _books([one for _, one in loaded])
        report = reporter(paths, folder / "reports")
        running = dict(zip((line.name for line in lines), ahead, strict=bool(ahead)))
        if args.tui:
            from sipmikey.tui.app import PhoneApp

            PhoneApp(
                opened, store=store, tr=tr, wanted=wanted, books=books, report=report, running=running
            ).run()
            return ExitCode.OK
        from sipmikey.gui.run import run_window

        return run_window(
            opened, store=store, tr=tr, wanted=wanted, books=books, report=report, running=running
        )


def _books(loaded: Sequence[LoadedConfiguration]) -> Callable[[], Iterator[dict[str, Any]]] | None:
    """Return what reads the address books of the accounts, None where there are none."""
    named = [one.configuration.address_book for one in loaded]
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
