"""Watching which key seals tickets."""

from __future__ import annotations

from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.stores.tpks import TpkStore


class TicketKeyWatch:
    """Logs and counts that another key seals, made by this worker, by another one or by a command."""

    def __init__(self, keys: TpkStore, metrics: Metrics) -> None:
        self._keys = keys
        self._metrics = metrics
        self._key_id = b""

    async def look(self, *, now_s: int) -> None:
        """Look once. Raises `StoreUnavailable`."""
        key = await self._keys.current(now_s=now_s)
        if key is None:
            return
        self._metrics.ticket_key_created.set(key.created_s)
        if key.key_id != self._key_id:
            if self._key_id:
                log.info("ticket-key-rotated", extra={"fields": {"key_id": key.key_id.hex()}})
            self._key_id = key.key_id
