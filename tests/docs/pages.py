"""The blocks of the pages: fenced ones and indented ones, with the page and line where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(r"```(\w*)(?: title=\"[\w.-]+\")?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a page; ``language`` is empty for an indented one."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """Page and line, for a report."""
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0].strip()

    def commands(self) -> list[str]:
        """Return the lines as commands, each with its continuation lines and without a prompt or comment."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        lines = [re.sub(r"\s{2,}#.*", "", line.strip()).removeprefix("$ ") for line in joined.split("\n")]
        return [line for line in lines if line and not line.startswith("#")]


def blocks() -> Iterator[Block]:
    """Yield every block of every page."""
    for path in PAGES:
        page = str(path.relative_to(ROOT))
        language, kept, start, blank = None, list[str](), 0, True
        for number, line in enumerate([*path.read_text(encoding="utf-8").split("\n"), ""], 1):
            fence = _FENCE.match(line)
            if language not in (None, "indented"):
                if line == "```":
                    yield Block(page=page, line=start, language=language or "text", text="\n".join(kept))
                    language, kept = None, []
                else:
                    kept.append(line)
            elif fence:
                if language:
                    yield Block(page=page, line=start, language="", text="\n".join(kept).strip("\n"))
                language, kept, start = fence[1] or "text", [], number
            elif line.startswith("    ") and (blank or language):
                language, start = "indented", start if language else number
                kept.append(line[4:])
            elif language == "indented" and not line:
                kept.append("")
            elif language == "indented":
                yield Block(page=page, line=start, language="", text="\n".join(kept).strip("\n"))
                language, kept = None, []
            blank = not line
