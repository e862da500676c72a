"""Check the language of names, docstrings, comments, messages and pages: plain words, one form of each.

Exit status 0 when nothing is found, 1 with one line per finding otherwise. With arguments, checks these files
only. A line that has to keep a word (a test of an error text, a quotation) ends in `words: ok`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUFFIXES = {".py", ".md", ".toml"}
NOT_OURS = ("tests/vectors/", "tools/check_words.py", "native/", "contrib/")
LATER = ()
"""Rooms whose language is still being worked on."""

RULES: tuple[tuple[str, str], ...] = (
    (
        r"(?<!there )\b(is|are|was|were) no (?!longer|more|such|less)[a-z`*]+",
        "say 'is not a ...'",
    ),
    (r"\bwho(m)?(so)?ever\b", "name the party: the peer, the caller, any KMS"),
    (r"\banew\b", "say 'again'"),
    (r"\botherwise than\b", "say 'not as', 'other than' or 'differently from'"),
    (r"\bwants? (somebody|nobody)\b", "name the party: the peer, the caller, the user"),
    (r"\bthat [^.;]{0,40} has not\b(?! [a-z]+(ed|en|t)\b)", "say 'does not have'"),
    (r"\bof (no )?use to\b|\bof no use\b", "say 'useless', 'unused' or what it is good for"),
    (r"\blets none\b|\blet none\b|\bto none\b", "name the party"),
    (r"\bin the midst of\b", "say 'while' or 'during'"),
    (r"\bwithout a word\b", "say 'without an error' or 'silently'"),
    (r"\bso long (after|before)\b", "say 'this long', or how many seconds"),
    (r"\b(calls|tickets|messages) to come\b", "say 'later calls'"),
    (r"\bas good as\b", "say 'treated as' or 'almost'"),
    (r"\b(the|its|this) further\b", "say 'other' or 'later'"),
    (r'"""Who ', "begin with what it is: 'The party that ...'"),
    (r'"""Whether ', "begin with 'True where' or 'Return True where'"),
    (r"\b(has|have) not got\b", "say 'does not have'"),
    (r"\b(to|of) nobody\b(?! else)", "say what happens: 'is not shown', 'stop'"),
    (r"\bin another way than\b", "say 'differently', or name the difference"),
    (r"\bRFC \d{3,4} \d+(\.\d+)+\b", "cite as 'RFC 6043 section 12.1'"),
    (r"\bRFC \d{3,4}, (section|Section)\b", "cite as 'RFC 6043 section 12.1'"),
    (r"\bRFC \d{3,4} ((?-i:Section)|§|sec\.)", "cite as 'RFC 6043 section 12.1'"),
    (r"(?<![\w\[-])(?-i:RFC)\d{3,4}\b", "cite as 'RFC 6043'"),
)
"""Pattern, and what to write instead. Case matters not."""

_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in RULES)


def files(arguments: list[str]) -> Iterator[Path]:
    """Yield the files to check: those named, or all that git knows."""
    if arguments:
        yield from map(Path, arguments)
        return
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in SUFFIXES and not name.startswith(NOT_OURS + LATER) and path.exists():
            yield path


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, words found, advice) for each finding in *text*."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.rstrip(" ->").endswith("words: ok"):
            continue
        for pattern, advice in _COMPILED:
            for found in pattern.finditer(line):
                yield number, found[0], advice


def main(arguments: list[str]) -> int:
    """Print what is found; return the exit status."""
    count = 0
    for path in files(arguments):
        for number, words, advice in findings(path.read_text(encoding="utf-8")):
            print(f"{path}:{number}: {words!r}: {advice}")
            count += 1
    if not count:
        print("words: plain")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
