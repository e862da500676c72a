"""A store: everything a KMS keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from sipmikey.kms.service.lookups import Admission, Lookups
from sipmikey.kms.stores.audit import AuditStore
from sipmikey.kms.stores.console_sessions import ConsoleSessionStore
from sipmikey.kms.stores.database import Database
from sipmikey.kms.stores.devices import DeviceStore
from sipmikey.kms.stores.master_key_change import MasterKeyChange
from sipmikey.kms.stores.policies import PolicyStore
from sipmikey.kms.stores.provisioned_users import ProvisionedStore
from sipmikey.kms.stores.subscribers import SubscriberStore
from sipmikey.kms.stores.tpks import TpkStore
from sipmikey.kms.stores.vault import Vault

STEP_S = 5.0
"""A clock that moved this much more or less than the time that passed was stepped."""

SETTLING_S = 900.0

_PROBE = "INSERT INTO subscriber_group (uri, created_s) VALUES ('probe', 0)"


class StoredReplayCache(Protocol):
    """A replay cache with its housekeeping."""

    async def add(self, digest: bytes, *, stamped_s: int, expires_s: int, now_s: int) -> bool: ...

    async def forget_expired(self, *, now_s: int) -> int: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class Store:
    """An open store. Used by one event loop (or thread); a process of its own opens its own.

    ``subscribers`` and ``ticket_keys`` serve the administrator and the service; ``replay``, ``audit`` and
    ``policies`` are what they say; ``devices`` keeps invitations too, ``provisioned`` what ties
    subscribers to another directory. ``console_sessions`` who is signed in
    at the console. Get one from
    `sipmikey.kms.stores.open.open_store`.
    """

    def __init__(
        self,
        *,
        directory: Database,
        audit: Database,
        replay: StoredReplayCache,
        vault: Vault,
        random: Callable[[int], bytes],
        now_s: Callable[[], int],
        rotate_tpk_every_s: int | None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self.subscribers = SubscriberStore(directory, vault, now_s)
        self.ticket_keys = TpkStore(directory, vault, random, rotate_every_s=rotate_tpk_every_s)
        self.policies = PolicyStore(directory)
        self.devices = DeviceStore(directory, vault, self.subscribers)
        self.console_sessions = ConsoleSessionStore(directory, vault)
        self.master_key = MasterKeyChange(directory, vault)
        self.provisioned = ProvisionedStore(directory, self.subscribers)
        self.audit = AuditStore(audit)
        self.replay = replay
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._clock_offset_s = now_s() - monotonic_s()
        self._settled_at_s = 0.0

    def lookups(self, admission: Admission | None = None) -> Lookups:
        """Return what the service needs."""
        return Lookups(
            credentials=self.subscribers,
            ticket_keys=self.ticket_keys,
            replay=self.replay,
            audit=self.audit,
            admission=admission,
        )

    async def ping(self) -> None:
        """Check that all stores answer, and that each can be written, as each may have a disk of its own.

        Raises `StoreUnavailable`. Nothing is kept.
        """
        await self.ping_directory()
        await self.audit.ping()
        await self.replay.ping()

    async def ping_directory(self) -> None:
        """Check that the store of subscribers and keys answers and can be written. Nothing is kept."""
        await self.directory.fetch("SELECT 1 FROM tpk")
        await self.directory.probe(_PROBE)

    async def maintain(self) -> None:
        """Forget what has expired (replay entries, TPKs past their last ticket, invitations), and keep when
        credentials were used. Call it once a minute.

        After the clock was stepped nothing is forgotten for `SETTLING_S` seconds: what a wrong clock forgets
        is missed when it is set right.
        """
        now_s = self._now_s()
        monotonic_s = self._monotonic_s()
        if abs((now_s - monotonic_s) - self._clock_offset_s) > STEP_S:
            self._settled_at_s = monotonic_s + SETTLING_S
        self._clock_offset_s = now_s - monotonic_s
        await self.audit.keep_uses()
        if monotonic_s < self._settled_at_s:
            return
        await self.replay.forget_expired(now_s=now_s)
        await self.ticket_keys.forget_expired(now_s=now_s)
        await self.devices.forget_expired(now_s=now_s)

    async def close(self) -> None:
        """Close connections. The store cannot be used afterwards."""
        await self.replay.close()
        await self.audit.close()
        await self.directory.close()
