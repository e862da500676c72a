"""Coverage-guided fuzzing with atheris: ``python -m tests.fuzz [--seconds N] [TARGET...]``.

Prints one JSON line a target (executions, seconds, findings) and keeps what failed in ``.fuzz/found``. Exit
status 1 when something did.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

WORK = Path(".fuzz")


def one(name: str) -> None:
    """Fuzz *name* in this process; libFuzzer's own arguments follow."""
    import atheris

    with atheris.instrument_imports(include=["sipmikey"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS, run
    atheris.Setup([sys.argv[0], *sys.argv[3:]], lambda data: run(TARGETS[name], data))
    atheris.Fuzz()


def fuzz(name: str, seconds: int) -> dict[str, object]:
    """Fuzz *name* for so many seconds in a process of its own; return what came of it."""
    from tests.fuzz.seeds import seeds

    corpus, found = WORK / "corpus" / name, WORK / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [
        sys.executable, "-m", "tests.fuzz", "--one", name, f"-max_total_time={seconds}", "-timeout=5",
        "-rss_limit_mb=1024", f"-artifact_prefix={found / name}-", "-print_final_stats=1", "-max_len=8192",
        str(corpus),
    ]  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    if done.returncode:
        (found / f"{name}.txt").write_text(done.stderr[-20_000:])
    return {
        "target": name, "executions": int(count[1]) if count else 0,
        "seconds": round(time.monotonic() - started), "failed": bool(done.returncode),
    }  # fmt: skip


def main() -> int:
    """Fuzz what the command line names, or everything."""
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all when none is named")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.targets or TARGETS:
        result = fuzz(name, arguments.seconds)
        print(json.dumps(result), flush=True)
        failed = failed or bool(result["failed"])
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    sys.exit(main())
