"""What the service asks of the world, as Protocols a store at the edge satisfies.

Every lookup is a coroutine, so that a store may wait for a network. A store that never waits (SQLite) is
driven just as well without an event loop: see `sipmikey.kms.service.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sipmikey.kms.audit import AuditEvent
from sipmikey.kms.subscribers import Principal, PskCredential
from sipmikey.kms.tpk import TpkRecord
from sipmikey.mikey.errors import SipmikeyError


class StoreUnavailable(SipmikeyError):
    """A store or cache did not answer; the service turns this into status 503."""


class CredentialSource(Protocol):
    """Finds who a message claims to be from. The built-in one is the subscriber store; GBA is another.

    Answers may be stale by at most what the source documents; the service checks the validity period of
    what it gets. Any method may raise `StoreUnavailable`.
    """

    async def psk_by_key_id(self, key_id: bytes) -> PskCredential | None:
        """Return the pre-shared key that IDRpsk names (in 3GPP: the B-TID), or None."""
        ...

    async def psks_of(self, identity: str) -> Sequence[PskCredential]:
        """Return the pre-shared keys of the owner of a canonical *identity*, newest first."""
        ...

    async def principal_by_certificate(self, fingerprint: bytes) -> Principal | None:
        """Return the owner of the certificate whose DER encoding has this SHA-256 digest (32 bytes)."""
        ...

    async def certificates_of(self, identity: str) -> Sequence[bytes]:
        """Return the certificates (DER) kept for the owner of a canonical *identity*, newest first."""
        ...

    async def principal_of(self, identity: str) -> Principal | None:
        """Return the subscriber who owns a canonical *identity*, or None."""
        ...

    async def groups_of(self, identity: str) -> Sequence[str]:
        """Return the canonical identities of the groups *identity* is a member of, wildcards included."""
        ...


class TicketKeys(Protocol):
    """Keeper of Ticket Protection Keys."""

    async def sealing_key(self, *, owner: str | None, now_s: int, until_s: int) -> TpkRecord | None:
        """Return the key under which to seal a ticket valid until *until_s* (Unix seconds).

        *owner* None means the KMS's own key, otherwise the key shared with that subscriber (None if there
        is none). Returning it promises that it resolves until *until_s* at least.
        """
        ...

    async def by_id(self, key_id: bytes) -> TpkRecord | None:
        """Return the key that IDRpsk in the Ticket Data names, or None if it is unknown or destroyed."""
        ...


class ReplayCache(Protocol):
    """Remembers messages until their timestamp is too old to be accepted anyway."""

    async def add(self, digest: bytes, *, stamped_s: int, expires_s: int, now_s: int) -> bool:
        """Remember *digest* (16 bytes) until *expires_s*; return False if it was there already.

        Check and addition are one atomic step across all workers. *stamped_s* is the message's own timestamp:
        a cache that lost its memory returns False for what was stamped before the loss. *expires_s* must
        depend on nothing but the message. All are Unix seconds.
        """
        ...


class AuditLog(Protocol):
    """Keeps decisions. Append-only."""

    async def append(self, event: AuditEvent) -> None:
        """Keep *event*; when this returns the event survives the death of this process."""
        ...


class Admission(Protocol):
    """Rate limits of authenticated subscribers."""

    def retry_after(self, subscriber: str) -> float | None:
        """Count one message of *subscriber*; return None to admit it or the seconds to wait."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """All that the service may ask. ``admission`` None means no limit per subscriber."""

    credentials: CredentialSource
    ticket_keys: TicketKeys
    replay: ReplayCache
    audit: AuditLog
    admission: Admission | None = None
