"""What makes the calls of a phone, started before the face is loaded: it takes the longest."""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sipmikey.cli.config.place import default_path
from sipmikey.json_agent import start_agent


def set_up(args: argparse.Namespace) -> bool:
    """Return True when there is an account to open."""
    return bool(args.config or os.environ.get("SIPMIKEY_CONFIG")) or default_path(os.environ).is_file()


def agent_options(args: argparse.Namespace, path: Path | None) -> Sequence[str]:
    """Return the options of the `sipmikey agent` of the account that *path* configures."""
    return [*([] if path is None else ["--config", str(path)]), *args.agent_option]


def start_ahead(args: argparse.Namespace) -> list[subprocess.Popen[bytes]]:
    """Start the process of each account; none where there is no phone to open.

    Where the phone does not open after all, they end with their standard input. Raises ``OSError``.
    """
    if args.import_ is not None or args.export is not None or not set_up(args):
        return []
    return [start_agent(agent_options(args, path)) for path in args.config or [None]]
