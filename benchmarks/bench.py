"""The figures of the documentation, made again: a table of each part, and its JSON in benchmarks/results.

    make bench [PARTS="start codec"] [LABEL=pure]

Each part is a script of its own, which compares what it measures with a yardstick in the same run. A part
without what it needs (krb5, rtpengine, the native core) is named at the end, and the others run all the same.
Run this on a machine that does nothing else: the load before and after each part is kept beside its figures,
and so is which core ran. A label goes into the names of the files, so that runs on several Pythons, and with
`SIPMIKEY_PURE=1`, are kept side by side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import build, load
from sipmikey.native import description

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FILE = "{file}"
LONGEST_S = 1800

PARTS: dict[str, tuple[str, ...]] = {
    "start": ("-m", "benchmarks.start", "--json"),
    "codec": ("benchmarks/codec.py", "--json"),
    "native": ("benchmarks/native.py", "--rounds", "3", "--json"),
    "kms_core": ("benchmarks/kms_core.py", "--json"),
    "kms_http": ("benchmarks/kms_http/bench.py", "--clients", "16", "--json", FILE),
    "kms_workers": ("benchmarks/kms_http/workers.py", "--json", FILE),
    "call_setup": ("benchmarks/call_setup/run.py", "--one-process", "--json"),
    "call_setup_isolated": ("benchmarks/call_setup/run.py", "--json"),
    "call_modes": ("benchmarks/call_setup/modes.py", "--json"),
    "media": ("benchmarks/media/run.py", "--json"),
    "network": ("benchmarks/network/run.py", "--json"),
}
"""Part -> its script and options; ``{file}`` stands for a file that takes the JSON, else it is printed."""


class Failed(Exception):
    """A part could not run. The text is the last line it printed."""


def figures(part: str) -> Any:
    """Run *part* and return its figures. Raises `Failed`."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "figures.json"
        command = [sys.executable, *(word.replace(FILE, str(file)) for word in PARTS[part])]
        run = subprocess.run(
            command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, timeout=LONGEST_S, check=False
        )
        if run.returncode:
            raise Failed(f"{' '.join(PARTS[part])} ended with {run.returncode}")
        text = file.read_text() if file.exists() else run.stdout
    try:
        return json.loads(text)
    except ValueError:  # one document a line
        return [json.loads(line) for line in text.splitlines()]


def rows(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name of each figure in *value*, and the figure."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from rows(one, f"{name} / {key}" if name else str(key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from rows(one, f"{name} / {number}" if name else str(number))
    else:
        yield name, f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> int:
    """Run the parts that are named, all unless told otherwise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--label", default="", metavar="WORD", help="results/PART.WORD.json [PART.json]")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"not a part: {', '.join(sorted(unknown))}")
    failed: list[str] = []
    RESULTS.mkdir(exist_ok=True)
    for part in arguments.parts or PARTS:
        print(f"\n{part}: python {' '.join(PARTS[part])}", flush=True)
        before = load()
        try:
            found = figures(part)
        except (Failed, subprocess.TimeoutExpired) as error:
            failed.append(f"{part}: {error}")
            continue
        document = {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": build(),
            "core": description(),
            "load": [before, load()],
            "command": ["python", *PARTS[part]],
            "figures": found,
        }
        name = f"{part}.{arguments.label}.json" if arguments.label else f"{part}.json"
        (RESULTS / name).write_text(json.dumps(document, indent=2) + "\n")
        print(f"Python {document['python']}, {document['core']}, load {before} before and {load()} after")
        for name, figure in rows(found):
            print(f"  {name:70} {figure:>12}")
    for line in failed:
        print(f"not measured: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
