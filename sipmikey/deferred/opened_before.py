"""What was opened before: a message that is left again, word for word, is refused. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sipmikey.mikey.errors import LocalError, ReplayedMessage

MOST = 100_000
"""Messages remembered; the one that is forgotten first goes first."""


@dataclass(frozen=True, slots=True)
class OpenedBefore:
    """By the digest of TRANSFER_INIT: the mailbox's name for the message, and until when to remember it.

    ``until``: Unix seconds after which the ticket no longer opens, so that a repetition does not matter.
    """

    known: Mapping[str, tuple[str, float]] = field(default_factory=lambda: MappingProxyType({}))

    def add(self, transfer_init: bytes, name: str, *, until: float, now: float) -> OpenedBefore:
        """Return what is known after the message *name* was opened; the same one may be opened again.

        Raises `ReplayedMessage` when it came under another name before.
        """
        digest = hashlib.sha256(transfer_init).hexdigest()
        before = self.known.get(digest)
        if before is not None and before[0] != name:
            raise ReplayedMessage(
                f"was opened before, as {before[0]}: it was left once more", field="TRANSFER_INIT"
            )
        kept = {one: entry for one, entry in self.known.items() if entry[1] > now}
        kept[digest] = (name, until)
        for one in sorted(kept, key=lambda one: kept[one][1])[:-MOST]:
            del kept[one]
        return OpenedBefore(MappingProxyType(kept))

    def encode(self) -> str:
        """Return it as text to be kept."""
        return json.dumps({digest: list(entry) for digest, entry in self.known.items()})


def parse_opened(text: str) -> OpenedBefore:
    """Read what `OpenedBefore.encode` made; raise `LocalError` for anything else."""
    try:
        found = json.loads(text)
        known = {str(digest): (str(name), float(until)) for digest, (name, until) in dict(found).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise LocalError("is not a list of messages that were opened") from None
    return OpenedBefore(MappingProxyType(known))
