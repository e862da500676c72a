"""A mailbox for tests: the real server in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sipmikey.testing.program import COMMAND, Program, run

START_S = 60.0


class MailboxDirectory:
    """A mailbox in *directory*, made by `sipmikey mailbox init` with plain HTTP and SQLite.

    *settings*: TOML lines behind those of `init`, in `[mailbox]` first. ``log`` is the file of what the
    server logs.
    """

    def __init__(self, directory: Path, settings: str = "") -> None:
        self.directory = directory
        self.log = directory.with_suffix(".log")
        self.run("init", "--listen", "127.0.0.1:0")
        if settings:
            with (directory / "mailbox.toml").open("a", encoding="utf-8") as file:
                file.write(settings)

    def run(self, *words: str) -> dict[str, Any]:
        """Run `sipmikey mailbox` with *words*; return the document it prints; RuntimeError when it fails."""
        done = run("mailbox", *words, "--dir", self.directory, "--json")
        if done.returncode != 0:
            raise RuntimeError(f"sipmikey mailbox {' '.join(words)}: {done.stdout}{done.stderr.strip()}")
        document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return document

    def add_box(self, uri: str) -> str:
        """Give *uri* a box; return its token."""
        return str(self.run("box", "add", uri)["token"])

    def start(self, *options: str) -> None:
        """Serve; return when the server says that it does. Raises RuntimeError where it does not."""
        with self.log.open("ab") as log:
            self.process = Program(
                COMMAND, "mailbox", "serve", "--dir", self.directory, "--json", "--until-eof", *options,
                text=True, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the mailbox did not start: {self.log.read_text()[-3000:]}")
        self.url = str(json.loads(line)["urls"][0])
        parts = urlsplit(self.url)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)

    def stop(self) -> int:
        """End it, gracefully; return its exit status."""
        self.process.terminate()
        status = self.process.wait(START_S)
        self.process.close()
        return status

    def logged(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class TestMailbox:
    """The mailbox of a run. It is made and started when its first message is left or looked for."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._served: MailboxDirectory | None = None
        self._tokens: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The base URL for agents."""
        return self._started().url

    def _started(self) -> MailboxDirectory:
        if self._served is None:
            self._served = MailboxDirectory(self._folder / "mailbox")
            self._served.start()
        return self._served

    def token(self, identity: str) -> str:
        """Return what opens the box of *identity*; a new box has none before."""
        if identity not in self._tokens:
            self._tokens[identity] = self._started().add_box(identity)
        return self._tokens[identity]

    def stop(self) -> None:
        """End the server, if there is one."""
        if self._served is not None:
            self._served.stop()
