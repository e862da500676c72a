"""Printing: events as JSON lines for programs or as text for people, and complaints on stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

from sipmikey.printable import json_line, printable, printable_line

SCHEMA_VERSION = 1
"""`v` of every JSON line. It grows when a field changes its meaning or goes away, not when one is added."""

GONE = frozenset({errno.EPIPE, errno.EIO})
"""What writing fails with when the reader of a pipe has gone, or the terminal was closed."""

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def jsonable(value: object) -> JsonValue:
    """Return *value* as JSON data. A secret is shown by its fingerprint, octets in hexadecimal."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value + 0  # an IntEnum or IntFlag becomes its number
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    from sipmikey.mikey.secret import Secret  # most documents hold none, and it loads the codec

    return f"secret:{value.fingerprint()}" if isinstance(value, Secret) else str(value)


def timestamp(seconds: float) -> str:
    """Return Unix time *seconds* as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Paint:
    """Emphasis on a terminal; plain text elsewhere or when NO_COLOR is set (no-color.org)."""

    def __init__(self, stream: IO[str]) -> None:
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._on = wanted and stream.isatty()

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on else text

    def good(self, text: str) -> str:
        return self("32", text)

    def bad(self, text: str) -> str:
        return self("31;1", text)

    def faint(self, text: str) -> str:
        return self("2", text)

    def strong(self, text: str) -> str:
        return self("1", text)


class Output:
    """Where a command prints: one JSON document a line, or text.

    Each write is flushed, so that a reader of a pipe sees an event when it happens. Raises
    ``BrokenPipeError`` when that reader has gone, or the terminal was closed.
    """

    def __init__(self, *, as_json: bool, stream: IO[str] | None = None) -> None:
        self.as_json = as_json
        self._stream = sys.stdout if stream is None else stream
        self.paint = Paint(self._stream)

    def text(self, line: str) -> None:
        """Print *line* for people; nothing in JSON mode."""
        if not self.as_json:
            self._print(printable_line(line))

    def document(self, fields: Mapping[str, object]) -> None:
        """Print one JSON document on a line; nothing in text mode."""
        if self.as_json:
            document = {"v": SCHEMA_VERSION} | {name: jsonable(value) for name, value in fields.items()}
            self._print(json_line(document))

    def _print(self, line: str) -> None:
        try:
            print(line, file=self._stream, flush=True)
        except OSError as error:
            if error.errno in GONE:
                raise BrokenPipeError(error.errno, "nobody reads this output any more") from None
            raise


def complain(message: str, *, as_json: bool = False, code: int = 70, reason: str = "internal") -> None:
    """Print an error that ends the command: on stderr, and as a JSON line on stdout with `--json`."""
    paint = Paint(sys.stderr)
    with contextlib.suppress(OSError):  # a terminal that was closed
        print(f"{paint.bad('sipmikey:')} {printable(message, most=None)}", file=sys.stderr, flush=True)
    if as_json:
        Output(as_json=True).document(
            {"type": "error", "reason": reason, "detail": message, "exit_code": code}
        )
