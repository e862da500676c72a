"""A mailbox as its users meet it: made and served by the `sipmikey mailbox` command, in a process."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sipmikey.cli.main import main
from sipmikey.testing.program import COMMAND, Program

START_S = 60.0


class ServedMailbox:
    """A mailbox in *directory*. *settings*: TOML lines behind those of `init`, in `[mailbox]` first.

    ``log`` is the file of what the server logs.
    """

    def __init__(self, directory: Path, settings: str = "") -> None:
        self.directory = directory
        self.log = directory.with_suffix(".log")
        self._run("init", "--listen", "127.0.0.1:0")
        if settings:
            with (directory / "mailbox.toml").open("a", encoding="utf-8") as file:
                file.write(settings)

    def _run(self, *words: str) -> dict[str, Any]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = main(["mailbox", *words, "--dir", str(self.directory), "--json"])
        assert code == 0, said.getvalue()
        return dict(json.loads(said.getvalue().splitlines()[-1]))

    def add_box(self, uri: str) -> str:
        """Give *uri* a box; return its token."""
        return str(self._run("box", "add", uri)["token"])

    def start(self, *options: str) -> None:
        """Serve; return when the server says that it does."""
        with self.log.open("ab") as log:
            self.process = Program(
                COMMAND, "mailbox", "serve", "--dir", self.directory, "--json", "--until-eof", *options,
                text=True, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
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
