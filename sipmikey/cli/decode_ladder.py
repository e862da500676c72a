"""The messages of a capture as the steps of a ladder diagram. Keys never stand in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from sipmikey.cli.decode_sources import Found
from sipmikey.cli.explain.message import explain
from sipmikey.cli.ladder import Step


class Captured(Protocol):
    """A message of a capture, as `sipmikey.cli.decode_capture` gives it."""

    @property
    def time(self) -> float: ...
    @property
    def source(self) -> tuple[str, int]: ...
    @property
    def target(self) -> tuple[str, int]: ...
    @property
    def label(self) -> str: ...
    @property
    def found(self) -> tuple[Found, ...]: ...


def capture_steps(messages: Iterable[Captured]) -> list[Step]:
    """Return one step a message, with the MIKEY messages in it named."""
    return list(_steps(messages))


def _steps(messages: Iterable[Captured]) -> Iterator[Step]:
    for message in messages:
        names = [summary(item) for item in message.found]
        text = " ".join([_short(message.label), *(f"[{name}]" for name in names)])
        yield Step(time=message.time, source=_lane(message.source), target=_lane(message.target), text=text)


def _lane(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _short(label: str) -> str:
    """Return the method of a request, or the status of a response, of a start line."""
    words = label.split(" ")
    if words[0].startswith(("SIP/", "HTTP/")):
        return " ".join(words[1:])
    if words[-1].startswith("HTTP/") and len(words) > 1:
        return f"{words[0]} {words[1].partition('?')[2] or words[1]}"
    return words[0]


def summary(found: Found) -> str:
    """Return the name of a MIKEY message, and whether something is wrong with it."""
    if not found.data:
        return "no MIKEY"
    explanation = explain(found.data)
    wrong = found.problems or any(item.kind == "error" for item in explanation.findings)
    return f"{explanation.name}: wrong" if wrong else explanation.name
