"""Print what sipmikey depends on directly and under which licence, as the table of docs/licences.md.

    python tools/list_licences.py               # the table, from pyproject.toml and what is installed
    python tools/list_licences.py --check       # status 1 when docs/licences.md has another table

A licence is what the package's metadata says (PEP 639 first, then the classifiers, then the old field).
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
TOOLS_ONLY = frozenset({"dev", "docs", "fuzz", "examples", "release"})
"""Extras for working on sipmikey: nothing of them is needed to use it."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CLASSIFIER = "License :: "
_LONGEST = 60
_KNOWN = {
    "atheris": "Apache-2.0",
    "audioop-lts": "PSF-2.0",
    "miniaudio": "MIT",
    "pjsua2-python": "GPL-2.0-or-later",
}
"""What a package's own licence file says, where its metadata is silent or vague."""


def dependencies() -> Iterator[tuple[str, str]]:
    """Yield (package, extra) of each direct dependency; the extra of the core is empty."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    for extra, requirements in groups.items():
        for requirement in requirements:
            name = _NAME.match(requirement)
            if name is not None and name[0] != "sipmikey":
                yield name[0], extra


def licence(name: str) -> str:
    """Return the licence of an installed package. Raises `PackageNotFoundError`."""
    if name in _KNOWN:
        return _KNOWN[name]
    told: dict[str, Any] = dict(metadata(name).json)
    if expression := told.get("license_expression"):
        return str(expression)
    classified = [
        value.rpartition(" :: ")[2]
        for value in told.get("classifier", ())
        if value.startswith(_CLASSIFIER) and value != "License :: OSI Approved"
    ]
    if classified:
        return ", ".join(sorted(set(classified)))
    old = str(told.get("license", "")).strip().splitlines()
    return old[0] if old and len(old[0]) <= _LONGEST else "see the package"


def table() -> str:
    """Return the table, a row for each package."""
    extras: dict[str, list[str]] = {}
    for name, extra in dependencies():
        extras.setdefault(name, []).append(extra or "always")
    rows = ["| package | licence | needed for |", "|---|---|---|"]
    for name in sorted(extras, key=str.lower):
        told = sorted(set(extras[name]) - TOOLS_ONLY)
        try:
            under = licence(name)
        except PackageNotFoundError:
            under = "not installed here"
        needed = ", ".join(told) if told else "work on sipmikey only"
        rows.append(f"| {name} | {under} | {needed} |")
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    """Print the table, or compare it with the page."""
    if arguments != ["--check"]:
        print(table())
        return 0
    if table() in PAGE.read_text(encoding="utf-8"):
        print("licences: as on the page")
        return 0
    print(f"{PAGE}: paste the output of tools/list_licences.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
