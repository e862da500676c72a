"""No file names a particular keying but its own, so that another one is added as one file."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sipmikey.call.keying import known
from sipmikey.call.keying.known import NONE, alternatives, kinds

ROOM = Path(known.__file__).parent
PACKAGE = ROOM.parents[1]

OWN = {"sdes_exchange.py"} | {
    f"{name}{part}.py" for name in ("clear", "sdes", "ticket") for part in ("", "_keying")
}
"""Files of `call/keying` that are about one keying."""

MAY_IMPORT = {
    "agent/asyncio_sip/media/described_keys.py": "writes and reads a=crypto lines for lane BY_STACK",
    "call/keying/known.py": "the list that finds the files",
}
MAY_NAME = {
    "agent/pjsua/settings.py": "the number that pjmedia has for a=crypto, which is what lane BY_STACK means",
    "media/rtcp/packets.py": "the packet type SDES of RTCP (RFC 3550), which has nothing to do with keys",
}
_TOKEN = re.compile(
    r"(?<![a-z])(sdes|mikey_ticket|SdesKeying|TicketKeying|ClearKeying)(?![a-z])", re.IGNORECASE
)


@functools.cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    """Return the modules of the package but those about one keying."""
    paths = (path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != ROOM or path.name not in OWN)
    return tuple((str(path.relative_to(PACKAGE)), ast.parse(path.read_text("utf-8"))) for path in paths)


def names_one(tree: ast.Module) -> bool:
    """Return whether a module names a keying in its code or texts."""
    names = {kind.name for kind in kinds() if kind.name} | (set(alternatives()) - {NONE})
    return any(word in names or _TOKEN.search(word) for word in words(tree))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def words(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module, and its texts but those that explain: docstrings."""
    explains = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explains:
            yield node.value


def test_only_the_list_imports_the_file_of_a_keying() -> None:
    files = {f"sipmikey.call.keying.{name.removesuffix('.py')}" for name in OWN}
    found = {path for path, tree in sources() if files & set(imported(tree))}
    assert found == set(MAY_IMPORT), "ask the declaration instead"


def test_no_other_file_names_a_keying() -> None:
    found = {path for path, tree in sources() if names_one(tree)}
    assert found - set(MAY_IMPORT) == set(MAY_NAME), "ask the declaration instead"


def test_declarations_load_neither_tickets_nor_events() -> None:
    """Faces and the reader of the configuration ask the declarations, and start without the rest."""
    program = "import sys, sipmikey.call.keying.known; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = ("sipmikey.ticket.", "sipmikey.call.events", "cryptography")
    assert not [name for name in done.stdout.split() if name.startswith(heavy)]
