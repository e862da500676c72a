"""Opening the store a URL names."""

from __future__ import annotations

from sipmikey.kms.stores.store import Store
from sipmikey.mikey.secret import Secret


async def open_store(
    url: str, master_key: Secret, *, replay_url: str | None = None, create: bool = False
) -> Store:
    """Open the store at *url*, bring its schema up to date, and check that *master_key* opens it.

    *url*: ``sqlite:PATH`` (three files beside one another: PATH, PATH-replay, PATH-audit) or
    ``postgresql://user@host/database``. *replay_url*: ``redis://host:port/db``, ``rediss://`` or
    ``unix:///path/to/socket`` for a replay cache shared by machines; None keeps it in the store.
    *create* makes a new SQLite file or an empty database's tables; without it a missing store is an error.
    Raises `LocalError` for a wrong URL, `StoreUnavailable` if the server does not answer and
    `MasterKeyMismatch` for another store's key.
    """
    raise NotImplementedError
