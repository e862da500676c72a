"""Check that imports between the packages of sipmikey run downwards only.

Exit status 0 when they do, 1 with one line per offence otherwise.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"mikey"}),
    frozenset({"keys", "sip"}),
    frozenset({"ticket"}),
    frozenset({"sdp", "media"}),
    frozenset({"call"}),
    frozenset({"agent", "kms"}),
    frozenset({"phone"}),
    frozenset({"decode", "vectors", "conformance"}),
    frozenset({"cli", "testing"}),
)
"""Lowest first. A package may import itself and what lies below."""

EDGE_MODULES = frozenset({"system"})
"""Modules of the top package that touch the operating system; the core may not import them."""

CORE = ("mikey", "sip", "keys", "ticket", "sdp", "call", "kms/service")
"""Packages and modules that do no I/O, read no clock and draw no randomness of their own."""

FORBIDDEN_IN_CORE = frozenset(
    {
        "aiohttp", "asyncio", "concurrent", "http", "httptools", "httpx", "logging", "multiprocessing",
        "os", "pathlib", "pjsua2", "pylibsrtp", "queue", "random", "secrets", "selectors", "signal",
        "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
        "uvicorn", "uvloop",
    }
)  # fmt: skip

SOLE_IMPORTERS = {
    "pjsua2": "agent/",
    "pylibsrtp": "media/",
}
"""Optional packages and the one room that may import each (one module there)."""


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every absolute import in *tree*."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            elif node.module == "sipmikey":
                for alias in node.names:
                    yield node.lineno, f"sipmikey.{alias.name}"
            elif node.module:
                yield node.lineno, node.module


def rank(package: str) -> int | None:
    for number, layer in enumerate(LAYERS):
        if package in layer:
            return number
    return None


def is_core(relative: str) -> bool:
    return any(relative == f"{name}.py" or relative.startswith(f"{name}/") for name in CORE)


def offence(relative: str, package: str, name: str) -> str | None:
    """Say what is wrong with importing *name* in the module at *relative*, or None."""
    if name.startswith("."):
        return "relative import: name the package"
    if is_core(relative) and any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN_IN_CORE):
        return f"the core must not import {name}"
    parts = name.split(".")
    if parts[0] != "sipmikey" or len(parts) == 1:
        return None
    target = parts[1]
    if target in EDGE_MODULES:
        return f"the core must not import {name}" if is_core(relative) else None
    here, there = rank(package), rank(target)
    if here is None or there is None or target == package:
        return None
    if there >= here:
        return f"{package} must not import {target}"
    return None


def check(root: Path) -> list[str]:
    """Return one line per offence in the package at *root*."""
    found: list[str] = []
    importers: dict[str, set[str]] = {name: set() for name in SOLE_IMPORTERS}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        package = relative.split("/")[0] if "/" in relative else ""
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if (what := offence(relative, package, name)) is not None:
                found.append(f"{path}:{line}: {what}")
            if (top := name.split(".")[0]) in importers:
                importers[top].add(relative)
    for name, modules in importers.items():
        outside = sorted(module for module in modules if not module.startswith(SOLE_IMPORTERS[name]))
        if len(modules) > 1 or outside:
            room, importing = SOLE_IMPORTERS[name], ", ".join(sorted(modules))
            found.append(f"{name} is imported by {importing}: one module of {room} only")
    return found


if __name__ == "__main__":
    offences = check(Path(__file__).parent.parent / "sipmikey")
    print("\n".join(offences) if offences else "layers: imports run downwards only")
    sys.exit(1 if offences else 0)
