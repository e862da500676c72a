"""From start to ready, and at rest: the terminal and the window beside baresip and linphone.

    python -m benchmarks.phone_start [--runs 5] [--rest 10]

Each is started as its user starts it, on a terminal, with one account, in turns. *picture*: the first words
on the terminal, or the first paint of the window (drawn offscreen). *ready*: the face says that the account
can be called and calls: the SIP stack listens, and the registrar (one in this process, which answers at once)
has confirmed the registration; the others have no registrar and say that they are ready, or prompt.
*processor*: of all processes of the run until then. At rest: memory (each shared page counted in parts, PSS)
and the share of one core. Medians, with the least in brackets; then the floor, in the same run: what the
parts cost that the phone cannot do without, each as a program of its own. Compiled modules are kept, as an
installation has them; the first run of each is not counted.
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sipmikey.testing import TestKms
from tests.agent.processes import children_of
from tests.phone.agents import configuration

ALICE = "sip:alice@example.com"
LONGEST_S = 60.0
SETTLE_S = 3.0
TICKS = os.sysconf("SC_CLK_TCK")

FLOOR = {
    "floor: Python": "print('READY')",
    "floor: pjsua2, REGISTER": """
import pjsua2, sys
class Account(pjsua2.Account):
    def onRegState(self, told):
        print("READY", flush=True)
endpoint = pjsua2.Endpoint()
endpoint.libCreate()
config = pjsua2.EpConfig()
config.logConfig.level = config.logConfig.consoleLevel = 0
endpoint.libInit(config)
endpoint.transportCreate(pjsua2.PJSIP_TRANSPORT_UDP, pjsua2.TransportConfig())
endpoint.audDevManager().setNullDev()
endpoint.libStart()
account, wanted = Account(), pjsua2.AccountConfig()
wanted.idUri, wanted.regConfig.registrarUri = "sip:alice@example.com", sys.argv[1]
account.create(wanted)
while True:
    endpoint.libHandleEvents(100)
""",
    "floor: Textual": """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("READY")
Hello().run()
""",
    "floor: PySide6": """
from PySide6.QtWidgets import QApplication, QLabel
class Hello(QLabel):
    def paintEvent(self, event):
        print("READY", flush=True)
application = QApplication([])
label = Hello("hello")
label.show()
application.exec()
""",
}
"""What the phone is made of, alone."""

WINDOW = """
import sys
from sipmikey.cli.main import main
from sipmikey.gui.window import PhoneWindow
paint, render = PhoneWindow.paintEvent, PhoneWindow.render_phone
def painted(self, event):
    paint(self, event)
    print("PICTURE", flush=True)
def rendered(self):
    render(self)
    if "can be called" in self.accounts.text():
        print("READY", flush=True)
PhoneWindow.paintEvent, PhoneWindow.render_phone = painted, rendered
sys.exit(main(sys.argv[1:]))
"""
"""`sipmikey phone`, which says what a person would see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program: how it is started, and what it says with its first picture and when it is ready."""

    name: str
    words: list[str]
    picture: str
    ready: str
    floor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds until the first picture and until ready, processor seconds until then; MB, % at rest."""

    picture: float
    ready: float
    processor: float
    memory: float
    rest: float


def registrar() -> str:
    """Answer every REGISTER with 200, in a thread; return the SIP URI."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            request, sender = sock.recvfrom(65536)
            lines = request.decode(errors="replace").split("\r\n")
            kept = [
                one for one in lines if one.partition(":")[0] in ("Via", "From", "Call-ID", "CSeq", "Contact")
            ]
            to = next((one for one in lines if one.startswith("To:")), "")
            if to:
                told = ["SIP/2.0 200 OK", *kept, f"{to};tag=r", "Expires: 600", "Content-Length: 0", "", ""]
                sock.sendto("\r\n".join(told).encode(), sender)

    threading.Thread(target=answer, daemon=True).start()
    return f"sip:127.0.0.1:{sock.getsockname()[1]}"


def tree(pid: int) -> list[int]:
    """Return *pid* and all processes below it."""
    try:
        below = children_of(pid)
    except FileNotFoundError:
        return []
    return [pid, *(one for child in below for one in tree(child))]


def processor_s(pid: int) -> float:
    """Return the processor seconds of a tree, with those of children that have ended."""
    used = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        used += sum(map(int, fields[11:15]))
    return used / TICKS


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a tree."""
    kilobytes = 0
    for one in tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except (FileNotFoundError, PermissionError):
            continue
        kilobytes += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024


def measured(case: Case, environment: Mapping[str, str], rest_s: float) -> Figures:
    """Run *case* once."""
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment)
        os.execvp(case.words[0], case.words)
    screen, picture = "", 0.0
    while case.ready not in screen:
        left = LONGEST_S - (time.perf_counter() - began)
        if left < 0 or not select.select([terminal], [], [], left)[0]:
            raise SystemExit(f"{case.name} does not get ready:\n{screen[-2000:]}")
        try:
            screen += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # it has ended
            raise SystemExit(f"{case.name} ends:\n{screen[-2000:]}") from None
        if not picture and case.picture in screen:
            picture = time.perf_counter() - began
    ready, processor = time.perf_counter() - began, processor_s(pid)
    settle_s, rest_s = (0.0, 0.0) if case.floor else (SETTLE_S, rest_s)
    _drain(terminal, settle_s)
    before = processor_s(pid)
    _drain(terminal, rest_s)
    rest, memory = (
        (0.0, 0.0) if case.floor else ((processor_s(pid) - before) / max(rest_s, 0.1), memory_mb(pid))
    )
    os.kill(pid, signal.SIGTERM)
    _drain(terminal, 0.0 if case.floor else 2.0)
    for one in tree(pid):
        os.kill(one, signal.SIGKILL)
    os.close(terminal)
    os.waitpid(pid, 0)
    return Figures(picture=picture or ready, ready=ready, processor=processor, memory=memory, rest=100 * rest)


def _drain(terminal: int, seconds: float) -> None:
    """Read what comes for so long: a program whose terminal is full would stand still."""
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                os.read(terminal, 65536)
            except OSError:
                return


def cases(folder: Path, configured: Path, registered_at: str) -> list[Case]:
    """Return what is measured: ours, and those of the others that are installed."""
    phone = ["phone", "--config", str(configured), "--data", str(folder / "data"), "--language", "en"]
    found = [
        Case(
            name="sipmikey phone --tui", words=[sys.executable, "-m", "sipmikey.cli", *phone, "--tui"],
            picture="Contacts", ready="can be called",
        ),
        Case(
            name="sipmikey phone", words=[sys.executable, "-c", WINDOW, *phone], picture="PICTURE",
            ready="READY",
        ),
    ]  # fmt: skip
    for name, program in FLOOR.items():
        words = [sys.executable, "-c", program, registered_at]
        found.append(Case(name=name, words=words, picture="READY", ready="READY", floor=True))
    if (baresip := shutil.which("baresip")) is not None:
        (folder / "baresip").mkdir()
        (folder / "baresip" / "accounts").write_text(f"<{ALICE}>;regint=0\n")
        words = [baresip, "-f", str(folder / "baresip")]
        found.append(Case(name="baresip", words=words, picture="baresip", ready="baresip is ready"))
    if (linphone := shutil.which("linphonec")) is not None:
        found.append(Case(name="linphonec", words=[linphone], picture="linphonec>", ready="linphonec>"))
    return found


def main() -> None:
    """Measure each in turns and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rest", type=float, default=10.0, help="seconds at rest")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        kms = TestKms(folder)
        kms.start()
        configured = configuration(kms, folder, ALICE)
        registered_at = registrar()
        text = configured.read_text().replace("[sip]\n", f'[sip]\nregistrar = "{registered_at}"\n')
        configured.write_text(text)
        found = cases(folder, configured, registered_at)
        environment = {
            "QT_QPA_PLATFORM": "offscreen", "HOME": made, "XDG_CONFIG_HOME": f"{made}/config",
            "TERM": "xterm", "COLUMNS": "120", "LINES": "40", "PYTHONPYCACHEPREFIX": f"{made}/compiled",
        }  # fmt: skip
        runs: dict[str, list[Figures]] = {case.name: [] for case in found}
        for number in range(given.runs + 1):
            for case in found:
                figures = measured(case, environment, given.rest if number else 0.0)
                if number:
                    runs[case.name].append(figures)
        kms.stop()
    print(f"load {os.getloadavg()[0]:.1f}; {given.runs} runs each, medians (least)")
    for name, measurements in runs.items():
        picture, ready, processor, memory, rest = (
            [getattr(one, field) for one in measurements]
            for field in ("picture", "ready", "processor", "memory", "rest")
        )
        print(
            f"{name:28} picture {_both(picture)} s  ready {_both(ready)} s  processor {_both(processor)} s"
            + (f"  memory {statistics.median(memory):4.0f} MB" if any(memory) else "")
            + (f"  at rest {statistics.median(rest):4.1f} % of a core" if any(memory) else "")
        )


def _both(values: list[float]) -> str:
    return f"{statistics.median(values):5.2f} ({min(values):.2f})"


if __name__ == "__main__":
    main()
