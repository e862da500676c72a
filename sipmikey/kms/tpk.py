"""Ticket Protection Keys (RFC 6043 Appendix A): what one is, and when it is due for rotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.ticket.credentials import TicketProtectionKey

TPK_BYTES = 32
"""Length of generated keys: as long as the longest MPK, so that the ticket RAND need not exceed it."""

KEY_ID_BYTES = 8
"""Length of a generated key identifier, carried as IDRpsk in the Ticket Data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TpkRecord:
    """A key that seals tickets, named by ``key_id`` (IDRpsk of the Ticket Data).

    ``owner`` None: known to the KMS only (mode 1). Otherwise the name of the subscriber it is shared with,
    who owns ``owner_identities`` and may open tickets sealed for it (mode 2) or make its own (mode 3).
    ``seals_until_s``: Unix seconds after which it seals no new ticket, None while it is current.
    ``resolves_until_s``: end of the latest ticket sealed with it; it is destroyed after that.
    ``protection``: the key as the ticket layer takes it.
    """

    key_id: bytes
    key: Secret
    owner: str | None = None
    created_s: int
    seals_until_s: int | None = None
    resolves_until_s: int
    owner_identities: tuple[str, ...] = ()
    protection: TicketProtectionKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.key_id) <= 255:
            raise LocalError(f"a TPK identifier has 1 to 255 bytes, not {len(self.key_id)}")
        if len(self.key) < 16:
            raise LocalError(f"a TPK has 16 bytes or more (RFC 6043 section 12.1), not {len(self.key)}")
        object.__setattr__(self, "protection", TicketProtectionKey(key=self.key, key_id=self.key_id))

    def seals(self, now_s: int) -> bool:
        """Return whether new tickets may be sealed with this key."""
        return self.seals_until_s is None or now_s < self.seals_until_s


def generate(
    random: Callable[[int], bytes], *, now_s: int, owner: str | None = None, length: int = TPK_BYTES
) -> TpkRecord:
    """Make a new current key of *length* bytes from *random*."""
    return TpkRecord(
        key_id=random(KEY_ID_BYTES),
        key=Secret(random(length)),
        owner=owner,
        created_s=now_s,
        resolves_until_s=now_s,
    )


def due(current: TpkRecord | None, *, now_s: int, rotate_every_s: int | None) -> bool:
    """Return whether a new key is to be made: none seals, or the current one is *rotate_every_s* old."""
    if current is None or not current.seals(now_s):
        return True
    return rotate_every_s is not None and now_s - current.created_s >= rotate_every_s
