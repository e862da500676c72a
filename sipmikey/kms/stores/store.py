"""A store: everything a KMS keeps."""

from __future__ import annotations

from sipmikey.kms.service.lookups import Admission, Lookups


class Store:
    """An open store. Used by one event loop (or thread); a process of its own opens its own.

    ``credentials``, ``ticket_keys``, ``replay`` and ``audit`` satisfy the Protocols of
    `sipmikey.kms.service.lookups`; ``subscribers`` is the administrator's side.
    """

    def lookups(self, admission: Admission | None = None) -> Lookups:
        """Return what the service needs."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Check that the store and the replay cache answer and can be written; else raise `StoreUnavailable`."""
        raise NotImplementedError

    async def maintain(self) -> None:
        """Forget what has expired (replay entries, TPKs past their last ticket). Call it once a minute."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close connections. The store cannot be used afterwards."""
        raise NotImplementedError
