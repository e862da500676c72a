"""What came of the calls of a load: counts, percentiles, and whether that is good enough."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sipmikey.cli.output import JsonValue

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCall:
    """One call. Milliseconds from the order to call: ``answered_ms`` to the 200, ``proven_ms`` to the first
    packet that verified; None where that did not happen. ``reason``: why it failed, empty when not."""

    answered_ms: float | None = None
    proven_ms: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is good enough. ``failures``: calls that may fail; ``answered_ms``, ``proven_ms``: what the 95th
    percentile may be at most; None: whatever it is."""

    failures: int = 0
    answered_ms: float | None = None
    proven_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One thing that was to hold, and what was found."""

    name: str
    holds: bool
    found: str


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile of *values*, which are not empty."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, JsonValue]:
    """Return least, percentiles and most of *values*, milliseconds; nothing where there are none."""
    if not values:
        return {}
    shown: dict[str, JsonValue] = {"min": round(min(values), 1)}
    shown |= {f"p{percent}": round(percentile(values, percent), 1) for percent in PERCENTILES}
    return {**shown, "max": round(max(values), 1)}


def document(
    calls: Sequence[MadeCall], *, seconds: float, held_at_once: int, rate: float
) -> dict[str, JsonValue]:
    """Return everything about the calls, for programs."""
    failed = _failed(calls)
    return {
        "type": "load",
        "calls": len(calls),
        "failed": failed.total(),
        "reasons": dict(failed.most_common()),
        "seconds": round(seconds, 2),
        "calls_per_second": round(len(calls) / seconds, 2) if seconds else 0.0,
        "wanted_per_second": rate,
        "held_at_once": held_at_once,
        "answered_ms": spread(answered(calls)),
        "proven_ms": spread(proven(calls)),
    }


def _failed(calls: Sequence[MadeCall]) -> Counter[str]:
    """Return how many calls failed, by their reasons."""
    return Counter(call.reason for call in calls if call.reason)


def answered(calls: Sequence[MadeCall]) -> list[float]:
    """Return how long each call took to be answered."""
    return [call.answered_ms for call in calls if call.answered_ms is not None]


def proven(calls: Sequence[MadeCall]) -> list[float]:
    """Return how long each call took until its media was proven."""
    return [call.proven_ms for call in calls if call.proven_ms is not None]


def verdicts(calls: Sequence[MadeCall], limits: Limits) -> Iterator[Verdict]:
    """Yield what was to hold."""
    reasons = _failed(calls)
    failed = reasons.total()
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    yield Verdict(
        name=f"at most {limits.failures} of {len(calls)} calls fail",
        holds=failed <= limits.failures,
        found=f"{failed} failed{f': {told}' if told else ''}",
    )
    for name, most, values in (
        ("answered", limits.answered_ms, answered(calls)),
        ("proven", limits.proven_ms, proven(calls)),
    ):
        if most is not None:
            found = percentile(values, 95) if values else None
            yield Verdict(
                name=f"95 of 100 calls are {name} within {most:g} ms",
                holds=found is not None and found <= most,
                found="no call was" if found is None else f"{found:.1f} ms",
            )


def junit(found: Sequence[Verdict], *, seconds: float) -> bytes:
    """Return the verdicts as a JUnit document, a test case each."""
    failures = sum(not verdict.holds for verdict in found)
    suite = ET.Element(
        "testsuite", name="sipmikey load", tests=str(len(found)), failures=str(failures), errors="0",
        skipped="0", time=f"{seconds:.2f}",
    )  # fmt: skip
    for verdict in found:
        case = ET.SubElement(suite, "testcase", classname="load", name=verdict.name)
        if not verdict.holds:
            ET.SubElement(case, "failure", message=verdict.found)
    ET.indent(suite)
    text: str = ET.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()
