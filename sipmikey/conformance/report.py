"""Writing results: JSON for programs, JUnit for machines that run tests."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from sipmikey.conformance.requirement import Result

_NOT_XML = {number: "\N{REPLACEMENT CHARACTER}" for number in range(32) if number not in (9, 10, 13)}


def document(result: Result) -> dict[str, object]:
    """Return a result as a JSON document."""
    return {
        "type": "requirement",
        "name": result.name,
        "side": result.side,
        "section": result.section,
        "level": result.level,
        "text": result.text,
        "outcome": result.outcome,
        "detail": result.detail,
    }


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Return how many requirements there are, and how many of each outcome."""
    found: Counter[str] = Counter(result.outcome for result in results)
    names = ("met", "broken", "warning", "untested")
    return {"requirements": len(results)} | {name: found[name] for name in names}


def junit(results: Sequence[Result], target: str) -> bytes:
    """Return results as a JUnit document: a test case a requirement, warnings as skipped with a message."""
    total = counts(results)
    root = ET.Element(
        "testsuite",
        name="RFC 6043 conformance",
        hostname=target.translate(_NOT_XML),
        tests=str(total["requirements"]),
        failures=str(total["broken"]),
        skipped=str(total["untested"] + total["warning"]),
        errors="0",
    )
    for result in results:
        name = f"{result.name}: {result.text}"
        case = ET.SubElement(root, "testcase", classname=f"{result.side}.{result.section}", name=name)
        if result.outcome == "broken":
            ET.SubElement(case, "failure", message=result.detail.translate(_NOT_XML))
        elif result.outcome != "met":
            message = f"{result.outcome}: {result.detail}".translate(_NOT_XML)
            ET.SubElement(case, "skipped", message=message)
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()
