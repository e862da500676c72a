"""Structured logs: one JSON object a line, no secrets.

An event is logged as ``log.info("word", extra={"fields": {...}})``. Exceptions are shown by type and place;
their text may hold anything, so it is left out unless it is one of ours.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import IO, Any

from sipmikey.mikey.errors import SipmikeyError
from sipmikey.printable import json_line

log = logging.getLogger("sipmikey.kms")

_OURS = ("sipmikey.kms", "sipmikey.mailbox")
"""Loggers whose messages are words, and whose fields hold no secret."""


class JsonFormatter(logging.Formatter):
    """``ts`` (RFC 3339, UTC), ``level``, ``event``, ``pid`` and the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "ts": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name in _OURS else "library",
            "pid": record.process,
        }
        if record.name not in _OURS:
            line["detail"] = record.getMessage()[:500]
        line.update(_trace())
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_described(record.exc_info[1]))
        return json_line(line, default=str)


def _trace() -> dict[str, str]:
    """Return the trace that this belongs to, where there are traces: nothing is loaded for it."""
    module = sys.modules.get("opentelemetry.trace")
    context = None if module is None else module.get_current_span().get_span_context()
    return {"trace": f"{context.trace_id:032x}"} if context is not None and context.is_valid else {}


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    described: dict[str, Any] = {
        "error": type(error).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-6:]],
    }
    if isinstance(error, SipmikeyError):
        described["detail"] = str(error)
    return described


def set_up(level: str, stream: IO[str]) -> None:
    """Send our events from *level* up, and libraries' from error up, to *stream*."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.ERROR, force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
