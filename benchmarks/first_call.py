"""A new user's path, timed: docs/user/first-call.md, from the clone to a spoken, secured call.

    python -m benchmarks.first_call [--installed FOLDER]

Two network namespaces are the two machines of the page, with its addresses; its commands are run as they
stand there. Root is needed, and what `apt-get` in the page installs. Both machines would install at the same
time, so it is done once; *--installed* takes a clone that has its .venv, and leaves that step out. There is
no sound in a namespace: each side says a WAV and records what it hears, which is compared with what was said.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sipmikey.media.similarity import compare_files

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "user" / "first-call.md"
VOICES = ROOT / "sipmikey" / "cli" / "assets"
MACHINES = {"first": "192.0.2.10", "second": "192.0.2.20"}
TALK_S = 4.0
LONGEST_S = 120.0
ALIKE = 0.8


def section(number: int) -> tuple[list[str], str]:
    """Return the commands of a section of the page and the file that it shows, "" where it shows none."""
    text = re.split(r"(?m)^## ", PAGE.read_text(encoding="utf-8"))[number]
    blocks = re.findall(r"(?m)(?:^ {4}.*\n|^\n(?= {4}))+", text)
    bodies = ["\n".join(line[4:] for line in block.splitlines()).strip() for block in blocks]
    files = [body for body in bodies if body.startswith("[")]
    commands = [
        line for body in bodies if body not in files for line in re.sub(r"\\\n\s*", " ", body).splitlines()
    ]
    commands += re.findall(r"`(sipmikey answer [^`]*)`", text)
    return commands, files[0] if files else ""


@contextmanager
def machines() -> Iterator[None]:
    """Make the two machines, connected by a cable."""
    names = list(MACHINES)
    try:
        for name in names:
            _ip(f"netns add {name}")
            _ip(f"-n {name} link set lo up")
        _ip("link add to-second netns first type veth peer name to-first netns second")
        for name, other in zip(names, reversed(names), strict=True):
            _ip(f"-n {name} address add {MACHINES[name]}/24 dev to-{other}")
            _ip(f"-n {name} link set to-{other} up")
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


class Terminal:
    """A command of the page at a terminal of a machine."""

    def __init__(self, machine: str, command: str, folder: Path, environment: dict[str, str]) -> None:
        print(f"  {machine}$ {command}", flush=True)
        self.screen = ""
        self._ours, theirs = pty.openpty()
        words = ["ip", "netns", "exec", machine, "bash", "-c", f"exec {command}"]
        self._process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def until(self, said: str) -> None:
        """Read until *said* is on the screen."""
        end = time.monotonic() + LONGEST_S
        while said not in self.screen:
            if time.monotonic() > end or not self._read():
                raise SystemExit(f"{said!r} does not come:\n{self.screen}")

    def _read(self) -> bool:
        if select.select([self._ours], [], [], 1.0)[0]:
            try:
                self.screen += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def type(self, keys: str) -> None:
        """Type *keys*."""
        os.write(self._ours, keys.encode())

    def end(self, number: signal.Signals | None = None) -> None:
        """Wait for its end, which *number* may bring."""
        if number is not None:
            os.killpg(self._process.pid, number)
        while self._process.poll() is None and self._read():
            pass
        self._process.wait()
        os.close(self._ours)


def call(folder: Path, environment: dict[str, str]) -> None:
    """Do sections 2 to 4 of the page."""
    first, second = folder / "first", folder / "second"
    for machine, voice in ((first, "alice"), (second, "bob")):
        machine.mkdir()
        shutil.copy(VOICES / f"{voice}.wav", machine / "says.wav")
    *commands, serve = section(2)[0]
    for command in commands:
        print(f"  first$ {command}", flush=True)
        words = ["ip", "netns", "exec", "first", "bash", "-c", command]
        subprocess.run(words, cwd=first, env=environment, check=True, capture_output=True)
    kms = Terminal("first", serve, first, environment)
    kms.until("serves")
    for name in ("bob.psk", "kms.pem"):
        shutil.copy(first / name, second / name)
    (answer,), settings = section(3)
    (second / "bob.toml").write_text(settings + "\n")
    (first / "alice.toml").write_text(re.sub(r"\bbob\b", "alice", settings) + "\n")
    sound = " --null-audio --play says.wav --record heard.wav"
    bob = Terminal("second", answer + sound, second, environment)
    bob.until("Ready")
    (dial,) = section(4)[0]
    alice = Terminal("first", dial + sound, first, environment)
    bob.until("[a] answer")
    bob.type("a")
    for one in (alice, bob):
        one.until("PROVEN")
    print("  both: PROVEN", flush=True)
    time.sleep(TALK_S)
    alice.type("h")
    alice.end()
    bob.end(signal.SIGINT)
    kms.end(signal.SIGINT)


def main() -> None:
    """Walk the path and print how long each step takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--installed", type=Path, help="a clone with its .venv")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, machines():
        folder, began = Path(made), time.monotonic()
        clone = (given.installed or folder / "sipmikey").resolve()
        if given.installed is None:
            steps = [line for line in section(1)[0] if not line.startswith(("apt-get", ". "))]
            script = "\n".join(["set -e", *steps]).replace("URL-OF-THE-REPOSITORY", str(ROOT))
            print(script, flush=True)
            subprocess.run(["bash", "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        installed = time.monotonic()
        path = f"{clone / '.venv' / 'bin'}:{os.environ['PATH']}"
        call(folder, {"PATH": path, "HOME": made, "TERM": "xterm", "LANG": "C.UTF-8"})
        over = time.monotonic()
        heard = [
            compare_files(folder / there / "says.wav", folder / here / "heard.wav").score
            for there, here in (("first", "second"), ("second", "first"))
        ]
    print(
        f"clone and installation {installed - began:.0f} s, KMS and call {over - installed - TALK_S:.0f} s,"
        f" talk {TALK_S:.0f} s; heard at the other end: {heard[0]:.2f}, {heard[1]:.2f}"
        f"; load {os.getloadavg()[0]:.1f}"
    )
    if min(heard) < ALIKE:
        sys.exit("what was said did not arrive")


if __name__ == "__main__":
    main()
