"""Collect the messages of the phone and compile its translations.

Run `python tools/make_translations.py` after a message changed (xgettext, msgmerge and msgfmt of gettext are
needed): it updates `sipmikey/locale/*/LC_MESSAGES/sipmikey.po` and makes the `.mo` beside each. A translator
edits the `.po`; a new language is a copy of `sipmikey/locale/sipmikey.pot` in a folder of its code.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from sipmikey.call.keying.known import kinds

ROOT = Path(__file__).parents[1]
LOCALE = ROOT / "sipmikey" / "locale"
ROOMS = ("phone", "tui", "gui", "cli/phone")


def words_of_keyings() -> str:
    """Return what the declarations of the keyings say to people, as xgettext reads it."""
    labels = [kind.words.label for kind in kinds()]
    texts = labels + [kind.words.warning for kind in kinds() if kind.name and not kind.end_to_end]
    return "".join(f"Text({text!r})\n" for text in texts)


def collect(template: Path) -> None:
    """Write the messages of all rooms to *template*."""
    folders = (ROOT / "sipmikey" / room for room in ROOMS)
    files = [str(path.relative_to(ROOT)) for folder in folders for path in sorted(folder.rglob("*.py"))]
    words = [
        "xgettext",
        "-L",
        "Python",
        "--from-code=UTF-8",
        "-kText",
        "-ktr",
        "-k_tr",
        "-ksay",
        "-ktr_",
        "--no-location",
    ]
    words += [
        "--no-location",
        "--package-name=sipmikey",
        "--add-comments=TRANSLATORS",
        "--sort-output",
        "-o",
        str(template),
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as declared:
        declared.write(words_of_keyings())
        declared.flush()
        subprocess.run([*words, *files, declared.name], cwd=ROOT, check=True)
    lines = template.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith('"POT-Creation-Date')]
    text = "\n".join(kept).replace("charset=CHARSET", "charset=UTF-8") + "\n"
    template.write_text(text, encoding="utf-8")


def main() -> int:
    """Update every catalogue; return 1 when one lacks translations."""
    template = LOCALE / "sipmikey.pot"
    collect(template)
    missing = 0
    for catalogue in sorted(LOCALE.glob("*/LC_MESSAGES/sipmikey.po")):
        words = ["msgmerge", "--quiet", "--no-fuzzy-matching", "--sort-output", "--update", "--backup=none"]
        subprocess.run([*words, str(catalogue), str(template)], check=True)
        done = subprocess.run(
            ["msgfmt", "--check", "--statistics", "-o", str(catalogue.with_suffix(".mo")), str(catalogue)],
            check=True, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        print(catalogue.parents[1].name, done.stderr.strip())
        missing += "untranslated" in done.stderr
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
