"""Subscribers, their credentials and groups."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

MIN_PSK_BYTES = 16
"""Shortest pre-shared key (RFC 6043 section 12.1: 128 bits or more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a credential belongs to.

    ``name``: stable name of the subscriber. ``identities``: the canonical URIs it owns, the primary first.
    ``groups``: canonical identities of the groups it is in. ``enabled`` False refuses everything.
    ``vouches_for``: not empty only for another KMS; patterns of the identities it may speak for.
    """

    name: str
    identities: tuple[str, ...]
    groups: tuple[str, ...] = ()
    enabled: bool = True
    vouches_for: tuple[str, ...] = ()

    @property
    def is_kms(self) -> bool:
        """Whether this is another KMS, which speaks for its own subscribers."""
        return bool(self.vouches_for)

    def owns(self, identity: str) -> bool:
        """Tell whether a canonical *identity* is one of this subscriber's, or of those it vouches for."""
        return identity in self.identities or any(matches(pattern, identity) for pattern in self.vouches_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class PskCredential:
    """A pre-shared key (16 bytes or more) with its identifier (IDRpsk), validity (Unix seconds) and owner."""

    principal: Principal
    key: Secret
    key_id: bytes | None = None
    valid_from_s: int | None = None
    valid_until_s: int | None = None

    def __post_init__(self) -> None:
        if len(self.key) < MIN_PSK_BYTES:
            raise LocalError(f"a pre-shared key has {MIN_PSK_BYTES} bytes or more, not {len(self.key)}")

    def valid_at(self, now_s: int) -> bool:
        """Tell whether the key may be used at *now_s*."""
        return (self.valid_from_s is None or self.valid_from_s <= now_s) and (
            self.valid_until_s is None or now_s < self.valid_until_s
        )


def matches(pattern: str, identity: str) -> bool:
    """Tell whether a canonical *identity* is *pattern* or falls under its wildcard.

    A wildcard is one ``*`` that stands for the whole user part (``sip:*@support.example.com``) or, as
    ``tel:+4670*``, for the end of a number. The host is never wild.
    """
    star = pattern.find("*")
    if star < 0:
        return pattern == identity
    head, tail = pattern[:star], pattern[star + 1 :]
    if len(identity) <= len(head) + len(tail) or not identity.startswith(head) or not identity.endswith(tail):
        return False
    middle = identity[star : len(identity) - len(tail)]
    return "@" not in middle and ";" not in middle


__all__ = ["MIN_PSK_BYTES", "Principal", "PskCredential", "matches"]
