"""The report of a call, for those who mend the program: written by one click, without names and secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sipmikey.cli.config.load import load
from sipmikey.phone import ShownCall

Report = Callable[[ShownCall], Path]


def reporter(paths: Mapping[str, Path | None], folder: Path) -> Report:
    """Return what writes the report of a call into *folder*; *paths*: the configuration of each account."""

    def report(call: ShownCall) -> Path:
        # Loaded late: few ever ask for a report.
        from sipmikey.cli.report.command import make_report, write_report

        loaded = load(path=paths.get(call.account))
        lines: Sequence[str] = [json.dumps(dict(event)) for event in call.events]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"report-{time.strftime('%Y%m%d-%H%M%S', time.localtime())}-call.json"
        write_report(make_report(loaded, [lines]), path)
        return path

    return report
