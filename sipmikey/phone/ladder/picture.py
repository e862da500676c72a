"""Ladder diagrams: who sent what to whom, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.printable import printable

_TIME_WIDTH = 11
_NARROWEST = 14
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One arrow. ``time`` is in seconds from any origin; ``source`` equal to ``target`` is a note."""

    time: float
    source: str
    target: str
    text: str


def render(steps: Sequence[Step], *, lanes: Sequence[str] = (), width: int = 110) -> str:
    """Return the diagram: a lane a party, in the order of *lanes* and then of appearance, time downwards.

    Times are printed from the first step. Lines are at most *width* columns where the lanes leave a choice;
    longer texts are cut.
    """
    order = list(
        dict.fromkeys([*lanes, *(_clean(name) for step in steps for name in (step.source, step.target))])
    )
    if not steps or not order:
        return ""
    spacing = _spacing(steps, order, width)
    columns = {name: _TIME_WIDTH + index * spacing + spacing // 2 for index, name in enumerate(order)}
    total = _TIME_WIDTH + len(order) * spacing
    lines = [_heads(order, columns, spacing, total)]
    start = min(step.time for step in steps)
    for step in steps:
        lines += _arrow(step, columns, total, step.time - start)
    return "\n".join(line.rstrip() for line in lines)


def _clean(text: str) -> str:
    """Show what a terminal should not be sent: names and texts come from messages."""
    return printable(text)


def _spacing(steps: Sequence[Step], order: Sequence[str], width: int) -> int:
    """Return the distance of lanes: what the longest text on its span needs, within *width*."""
    needed = _NARROWEST
    for step in steps:
        span = abs(order.index(_clean(step.source)) - order.index(_clean(step.target))) or 1
        needed = max(needed, -(-(len(_clean(step.text)) + 4) // span))
    needed = max(needed, *(len(name) + 2 for name in order))
    widest = max(_NARROWEST, (width - _TIME_WIDTH) // len(order))
    return min(needed, widest)


def _heads(order: Sequence[str], columns: dict[str, int], spacing: int, total: int) -> str:
    line = [" "] * total
    for name in order:
        shown = _cut(name, spacing - 1)
        _write(line, columns[name] - len(shown) // 2, shown)
    return "".join(line)


def _arrow(step: Step, columns: dict[str, int], total: int, elapsed: float) -> list[str]:
    source, target = columns[_clean(step.source)], columns[_clean(step.target)]
    text = _clean(step.text)
    time = f"{elapsed:9.3f}"
    if source == target:
        line = _lifelines(columns, total)
        _write(line, 0, time)
        return ["".join(line)[: source + 2] + text]
    left, right = sorted((source, target))
    line = _lifelines(columns, total)
    _write(line, 0, time)
    shaft = "-" * (right - left - 2)
    _write(line, left + 1, f"{shaft}>" if target > source else f"<{shaft}")
    above = _lifelines(columns, total)
    room = right - left - 1
    # A text longer than its arrow runs over the lanes to its right, and to its left where those end.
    shown = _cut(text, total)
    at = left + 1 + (room - len(shown)) // 2 if len(shown) <= room else left + 1
    _write(above, min(at, total - len(shown)), shown)
    return ["".join(above), "".join(line)]


def _lifelines(columns: dict[str, int], total: int) -> list[str]:
    line = [" "] * total
    for column in columns.values():
        line[column] = "|"
    return line


def _write(line: list[str], at: int, text: str) -> None:
    for index, character in enumerate(text, start=max(at, 0)):
        if index < len(line):
            line[index] = character


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + _ELLIPSIS
