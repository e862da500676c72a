"""The names of the files that calls are recorded to."""

from __future__ import annotations

from pathlib import Path


class Recordings:
    """*first*: of the first recording; later ones get a number.

    *again*: an earlier stack of this agent died; its recordings are kept.
    """

    def __init__(self, first: Path, *, again: bool = False) -> None:
        self._first = first
        self._again = again
        self._number = 0

    def next(self) -> Path:
        """Return the name of one more recording."""
        while True:
            self._number += 1
            number = "" if self._number == 1 else f"-{self._number}"
            path = self._first.with_stem(f"{self._first.stem}{number}")
            if not (self._again and path.exists()):
                return path
