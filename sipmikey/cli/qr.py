"""A QR for a terminal."""

from __future__ import annotations

import io
import os
import sys


def qr_text(address: str) -> str:
    """Return a QR of *address* in block characters, "" where segno is not installed."""
    try:
        import segno
    except ModuleNotFoundError:
        return ""
    picture = io.StringIO()
    segno.make(address, micro=False).terminal(picture, compact=True)
    lines = picture.getvalue().splitlines()
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        # Dark on light whatever the terminal's colours are.
        lines = [f"\x1b[40;97m{line}\x1b[0m" for line in lines]
    return "\n".join(lines)
