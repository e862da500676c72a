"""Check the rooms of sipmikey: imports run downwards, without circles, and no folder has over 20 modules.

Exit status 0 when all of this holds, 1 with one line per offence otherwise. With --figures it also prints the
largest folders, the longest chain of imports, the longest functions and the largest classes.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"mikey"}),
    frozenset({"keys", "sealed", "settings", "sip"}),
    frozenset({"ticket", "sound"}),
    frozenset({"sdp", "media", "nat"}),
    frozenset({"call", "deferred"}),
    frozenset({"agent", "kms"}),
    frozenset({"mailbox"}),
    frozenset({"phone"}),
    frozenset({"decode", "vectors", "conformance"}),
    frozenset({"tui", "gui"}),
    frozenset({"cli", "testing"}),
)
"""Lowest first. A package may import itself and what lies below."""

EDGE_MODULES = frozenset(
    {"capture", "key_file", "network_errors", "pem_file", "ports", "system", "whole_file"}
)
"""Modules of the top package that touch the operating system; the core may not import them."""

CORE = (
    "mikey", "sip", "keys", "ticket", "sdp", "call", "deferred",
    "kms/enrolment", "kms/service", "kms/policy/adjust", "kms/policy/limits", "kms/policy/rules",
    "kms/subscribers", "kms/tpk", "kms/audit", "phone",
)  # fmt: skip
"""Packages and modules that do no I/O, read no clock and draw no randomness of their own."""

EDGES_OF_CORE = ("phone/edge",)
"""Rooms inside a core package that do its I/O."""

FORBIDDEN_IN_CORE = frozenset(
    {
        "PySide6", "aiohttp", "asyncio", "concurrent", "http", "httptools", "httpx", "keyring", "logging",
        "multiprocessing", "os", "pathlib", "pjsua2", "pylibsrtp", "queue", "random", "secrets", "selectors",
        "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "textual", "threading", "time",
        "urllib.request", "uvicorn", "uvloop",
    }
)  # fmt: skip

APART = {
    "agent/asyncio_sip/": ("sipmikey.agent.pjsua", "sipmikey.agent.isolation"),
    "agent/pjsua/": ("sipmikey.agent.asyncio_sip",),
    "agent/python_media/": ("sipmikey.agent.pjsua", "sipmikey.agent.asyncio_sip"),
    "agent/screening/": ("sipmikey.agent.pjsua", "sipmikey.agent.asyncio_sip"),
}
"""Rooms side by side: neither SIP stack may import the other, and what both share imports neither."""

MODULES_PER_FOLDER = 20

BESIDE = ("tests", "benchmarks", "examples", "tools")
"""Folders beside the package whose sub-folders are counted too."""

DELETE_ALL = "delete __all__: only a module that passes on imported names has one; private names start with _"

STAR_IMPORTED = frozenset({"testing/plugin.py"})
"""Modules meant for ``import *``, which need ``__all__``."""

Graph = Mapping[str, frozenset[str]]

SOLE_IMPORTERS = {
    "pjsua2": "agent/",
    "pylibsrtp": "media/",
    "G722": "media/",
    "opuslib_next": "media/",
    "sipmikey_native": "native.py",
    "miniaudio": "sound/",
    "samplerate": "sound/",
    "livekit": "sound/",
    "aioice": "nat/",
    "dns": "agent/",
}
"""Optional packages and the one room that may import each (one module there).

Every room may import `sipmikey.native`, which lies below them all and chooses between the cores.
"""


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the module at *path*, read once."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@functools.cache
def import_statements(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return every import statement of the module at *path*."""
    return tuple(node for node in ast.walk(parsed(path)) if isinstance(node, ast.Import | ast.ImportFrom))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every absolute import of the module at *path*."""
    for node in import_statements(path):
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
    if relative.startswith(tuple(f"{edge}/" for edge in EDGES_OF_CORE)):
        return False
    return any(relative == f"{name}.py" or relative.startswith(f"{name}/") for name in CORE)


def offence(relative: str, package: str, name: str) -> str | None:
    """Say what is wrong with importing *name* in the module at *relative*, or None."""
    if name.startswith("."):
        return "relative import: name the package"
    if is_core(relative) and any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN_IN_CORE):
        return f"the core must not import {name}"
    for room, others in APART.items():
        if relative.startswith(room) and any(
            name == other or name.startswith(f"{other}.") for other in others
        ):
            return f"{room} must not import {name}"
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
        for line, name in imports(path):
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


def modules(root: Path) -> dict[str, Path]:
    """Return every module of the package at *root* by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(root: Path) -> Graph:
    """Return which modules of the package each module imports, also for type checking only."""
    known = modules(root)
    graph = {}
    for module, path in known.items():
        named: set[str] = set()
        for node in import_statements(path):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    named.add(whole if whole in known else node.module)
            elif isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
        graph[module] = frozenset(named & known.keys() - {module})
    return graph


def check_circles(graph: Graph) -> list[str]:
    """Return one line for the first circle of imports found, if any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"circle of imports: {' > '.join(reversed(error.args[1]))}"]
    return []


def check_folders(root: Path, names: tuple[str, ...]) -> list[str]:
    """Return one line per folder below those *names* that holds too many Python files."""
    paths = (path for name in names for path in (root / name).rglob("*.py"))
    sizes = Counter(path.parent for path in paths)
    return [
        f"{folder}: {count} files, at most {MODULES_PER_FOLDER}"
        for folder, count in sorted(sizes.items())
        if count > MODULES_PER_FOLDER
    ]


def folder_sizes(root: Path) -> Counter[str]:
    """Return how many modules each folder holds."""
    return Counter(path.parent.relative_to(root).as_posix() for path in modules(root).values())


def check_rooms(root: Path) -> list[str]:
    """Return one line per folder that is too large, and per needless ``__all__``."""
    found = [
        f"{root / folder}: {count} modules, at most {MODULES_PER_FOLDER}"
        for folder, count in folder_sizes(root).items()
        if count > MODULES_PER_FOLDER
    ]
    for path in modules(root).values():
        if path.name == "__init__.py" or path.relative_to(root).as_posix() in STAR_IMPORTED:
            continue
        body = parsed(path).body
        statements = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        imported = {alias.asname or alias.name for node in statements for alias in node.names}
        for node in body:
            if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) != "__all__":
                continue
            if not imported.intersection(ast.literal_eval(node.value)):
                found.append(f"{path}:{node.lineno}: {DELETE_ALL}")
    return found


def longest_chain(graph: Graph) -> list[str]:
    """Return the longest chain of imports, from the top module down. The graph has no circle."""
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(graph).static_order():
        below = max((chains[name] for name in graph[module]), key=len, default=[])
        chains[module] = [module, *below]
    return max(chains.values(), key=len)


def figures(root: Path, graph: Graph) -> Iterator[str]:
    """Yield lines that describe the size and depth of the package."""
    functions: list[tuple[int, str]] = []
    classes: list[tuple[int, str]] = []
    for path in modules(root).values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                where = f"{path.relative_to(root)}: {node.name}"
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                (classes if isinstance(node, ast.ClassDef) else functions).append((lines, where))
    yield f"modules: {len(graph)}"
    yield "largest folders: " + ", ".join(f"{name} {n}" for name, n in folder_sizes(root).most_common(5))
    yield "circles of imports: 0"
    chain = longest_chain(graph)
    yield f"longest chain of imports: {len(chain)}: " + " > ".join(m.removeprefix("sipmikey.") for m in chain)
    for kind, sizes in (("function", functions), ("class", classes)):
        for lines, where in sorted(sizes, reverse=True)[:3]:
            yield f"{lines:4} lines, {kind} {where}"


def main(arguments: list[str]) -> int:
    """Run every check; return the exit status."""
    root = Path(__file__).parent.parent / "sipmikey"
    graph = import_graph(root)
    circles = check_circles(graph)
    offences = check(root) + circles + check_rooms(root) + check_folders(root.parent, BESIDE)
    print("\n".join(offences) if offences else "rooms: imports run downwards, no circle, no folder too large")
    if "--figures" in arguments and not circles:
        print("\n".join(figures(root, graph)))
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
