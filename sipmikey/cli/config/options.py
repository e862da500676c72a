"""The command-line options that stand for settings, and the configuration that results from them."""

from __future__ import annotations

import argparse
from pathlib import Path

from sipmikey.cli.config.load import LoadedConfiguration, load, variable
from sipmikey.cli.config.schema import SECTIONS
from sipmikey.cli.output import Paint
from sipmikey.printable import printable
from sipmikey.settings import settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and one option for each setting that has one.

    A value is not checked here but when everything is merged, so that option, variable and file give the
    same error.
    """
    group = parser.add_argument_group("configuration (options override SIPMIKEY_* variables, those the file)")
    group.add_argument("--config", type=Path, metavar="FILE", help="TOML file (or SIPMIKEY_CONFIG)")
    for section, key, setting, default in settings(SECTIONS):
        if setting.option is None:
            continue
        shown = ",".join(default) if isinstance(default, tuple) else default
        words = f"; {', '.join(setting.words)}" if setting.words else ""
        usual = f" [{shown}]" if shown not in (None, "") else ""
        group.add_argument(
            setting.option,
            dest=f"{section}.{key}",
            metavar=setting.metavar or key.upper(),
            help=f"{setting.help}{words}{usual} ({variable(section, key)})".replace("%", "%%"),
        )
    group.add_argument(
        "--null-audio",
        dest="media.device",
        action="store_const",
        const="null",
        help="no sound device: play and record files only (media.device = null)",
    )


def load_from(args: argparse.Namespace) -> LoadedConfiguration:
    """Return the configuration that *args*, the environment and the file make; warn on stderr.

    Once a day the KMS that this device is enrolled at is asked for changes first. Raises ConfigurationError.
    """
    options = {
        (section, key): value
        for section, key, _, _ in settings(SECTIONS)
        if (value := getattr(args, f"{section}.{key}", None)) is not None
    }
    loaded = load(path=args.config, options=options)
    if loaded.configuration.enrolment.device:
        from sipmikey.cli.enrol.refresh import refresh_at_start

        if told := list(refresh_at_start(loaded)):
            for line in told:
                warn(line)
            loaded = load(path=args.config, options=options)
    for warning in loaded.warnings:
        warn(warning)
    return loaded


def warn(message: str) -> None:
    """Print a warning on stderr."""
    import sys

    paint = Paint(sys.stderr)
    print(f"{paint.strong('warning:')} {printable(message, most=None)}", file=sys.stderr, flush=True)
