"""From start to ready: the agent, the terminal and the window, beside baresip; wall and processor time.

    QT_QPA_PLATFORM=offscreen python -m benchmarks.phone_start

Processor time is that of all processes of a run: it tells more than wall time where the machine is busy.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sipmikey.testing import TestKms
from tests.phone.agents import settings

ALICE = "sip:alice@example.com"
RUNS = 3

WINDOW = """
import sys, time
from PySide6.QtWidgets import QApplication
from sipmikey.gui.window import PhoneWindow
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
application = QApplication([])
window = PhoneWindow([(Line("", "sip:alice@example.com"), sys.argv[1:])], store=None, tr=translation(["en"]))
window.show()
window.start()
while not window.phone.accounts[""].engine:
    application.processEvents()
    time.sleep(0.005)
window.close()
"""

TERMINAL = """
import asyncio, sys
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.tui.app import PhoneApp
async def main():
    app = PhoneApp([(Line("", "sip:alice@example.com"), sys.argv[1:])], store=None, tr=translation(["en"]))
    async with app.run_test():
        while not app.phone.accounts[""].engine:
            await asyncio.sleep(0.005)
asyncio.run(main())
"""


def measured(words: list[str], until: str = "") -> tuple[float, float]:
    """Run *words* until they end, or print *until*; return wall and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            if until and until in line:
                break
        wall = time.perf_counter() - began
        process.stdin.close()
        if until:
            process.terminate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure each and print the medians."""
    folder = Path(tempfile.mkdtemp())
    kms = TestKms(folder)
    kms.start()
    options = settings(kms, folder, ALICE)
    (folder / "baresip").mkdir()
    (folder / "baresip" / "accounts").write_text(f"<{ALICE}>;regint=0\n")
    cases = {
        "agent --json": ([sys.executable, "-m", "sipmikey.cli", "agent", "--json", *options], "agent.ready"),
        "terminal": ([sys.executable, "-c", TERMINAL, *options], ""),
        "window": ([sys.executable, "-c", WINDOW, *options], ""),
    }
    if (baresip := shutil.which("baresip")) is not None:
        cases["baresip"] = ([baresip, "-f", str(folder / "baresip")], "baresip is ready")
    for name, (words, until) in cases.items():
        runs = [measured(words, until) for _ in range(RUNS)]
        wall, processor = (statistics.median(one) for one in zip(*runs, strict=True))
        print(f"{name:14} wall {wall:6.2f} s   processor {processor:6.2f} s   load {os.getloadavg()[0]:.0f}")
    kms.stop()


if __name__ == "__main__":
    main()
