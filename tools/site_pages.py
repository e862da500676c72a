"""What the site needs beyond `docs/`: the pages of the repository's root, and links that leave `docs/`.

A hook of mkdocs. A link to a file that is not a page of the site becomes the file's name, since the site
does not hold it; a link to nowhere is left for mkdocs to refuse.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]+)?\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Point links at pages of the site, and name files that are not among them."""
    source = page.file.src_uri
    folder = ROOT if source in OUTSIDE else (ROOT / "docs" / source).parent
    depth = "" if source in OUTSIDE else "../" * source.count("/")

    def changed(link: re.Match[str]) -> str:
        text, name, anchor = link[1], link[2], link[3] or ""
        target = (folder / name).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return link[0]
        where = target.relative_to(ROOT).as_posix()
        if where in OUTSIDE:
            return f"[{text}]({depth}{where}{anchor})"
        if where.startswith("docs/") and target.is_file():
            return f"[{text}]({depth}{where.removeprefix('docs/')}{anchor})"
        return text if where in text.strip("`") else f"{text} (`{where}`)"

    return _LINK.sub(changed, markdown)
