"""Tells at once that a store was opened with another store's master key."""

from __future__ import annotations

import hmac

from sipmikey.kms.stores.database import Database
from sipmikey.kms.stores.vault import MasterKeyMismatch, Vault
from sipmikey.mikey.secret import Secret

_KNOWN = b"sipmikey kms master key check"


async def check_master_key(database: Database, vault: Vault) -> None:
    """Open the sealed mark of the store, or leave one in a new store. Raises `MasterKeyMismatch`."""
    sealed = vault.seal(Secret(_KNOWN), "master key check")
    await database.execute(
        "INSERT INTO master_key_check (one, sealed) VALUES (1, ?1) ON CONFLICT DO NOTHING", sealed
    )
    rows = await database.fetch("SELECT sealed FROM master_key_check WHERE one = 1")
    found = vault.open(bytes(rows[0][0]), "master key check")
    if not hmac.compare_digest(found.reveal(), _KNOWN):
        raise MasterKeyMismatch("the store's master key check holds something else")
