"""Opening the store a URL names."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sipmikey.kms.stores.database import Database
from sipmikey.kms.stores.replay import DatabaseReplayCache, system_boot
from sipmikey.kms.stores.schema import AUDIT, CONSOLE, DIRECTORY, MASTER_KEY, REPLAY, migrate
from sipmikey.kms.stores.sqlite import SqliteDatabase
from sipmikey.kms.stores.store import Store, StoredReplayCache
from sipmikey.kms.stores.vault import MasterKeyMismatch, Vault
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

DAY_S = 86_400
DEFAULT_TPK_ROTATION_S = 7 * DAY_S

_KNOWN = b"sipmikey kms master key check"


async def open_store(
    url: str,
    master_key: Secret,
    *,
    replay_url: str | None = None,
    create: bool = False,
    rotate_tpk_every_s: int | None = DEFAULT_TPK_ROTATION_S,
    now_ns: Callable[[], int] = time.time_ns,
) -> Store:
    """Open the store at *url*, bring its schema up to date, and check that *master_key* opens it.

    *url*: ``sqlite:PATH`` (three files beside one another: PATH, PATH-audit, PATH-replay) or
    ``postgresql://user@host/database``. *replay_url*: ``redis://host:port/db``, ``rediss://``,
    ``unix:///path/to/socket`` or ``redis+sentinel://host:port,host:port/NAME/db`` for a replay cache that
    machines share; None keeps it in the store.
    *create* makes a new SQLite file or an empty database's tables; without it a missing store is an error.
    *rotate_tpk_every_s* None rotates TPKs by command only. *now_ns* is the clock, in nanoseconds since 1970.
    Raises `LocalError` for a wrong URL, `StoreUnavailable` if the server does not answer and
    `MasterKeyMismatch` for another store's key.
    """
    vault = Vault(master_key)

    def now_s() -> int:
        return now_ns() // 1_000_000_000

    replay_from_s = now_s() if replay_url is None else None
    directory, audit, replay = await _open_databases(url, create, replay_from_s)
    if replay_url is not None:
        from sipmikey.kms.stores.redis_replay import RedisReplayCache

        replay = RedisReplayCache(replay_url)
    assert replay is not None
    store = Store(
        directory=directory,
        audit=audit,
        replay=replay,
        vault=vault,
        random=os.urandom,
        now_s=now_s,
        rotate_tpk_every_s=rotate_tpk_every_s,
    )
    try:
        await store.master_key.refresh()
        await _check_master_key(directory, vault)
    except BaseException:
        await store.close()
        raise
    return store


async def _open_databases(
    url: str, create: bool, replay_from_s: int | None
) -> tuple[Database, Database, StoredReplayCache | None]:
    """Return directory, audit log and replay cache; no cache where *replay_from_s* is None."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return await _open_sqlite(sqlite_path(url), create, replay_from_s)
    if scheme in {"postgresql", "postgres"}:
        return await _open_postgres(url, create, replay_from_s)
    raise LocalError(f"store {scheme!r} is not known; write sqlite:PATH or postgresql://user@host/database")


async def _check_master_key(database: Database, vault: Vault) -> None:
    """Tell by the sealed mark of the store whether this is its master key; leave one in a new store.

    Raises `MasterKeyMismatch`.
    """
    sealed = vault.seal(Secret(_KNOWN), "master key check")
    await database.execute(
        "INSERT INTO master_key_check (one, sealed) VALUES (1, ?1) ON CONFLICT DO NOTHING", sealed
    )
    rows = await database.fetch("SELECT sealed FROM master_key_check WHERE one = 1")
    found = vault.open(bytes(rows[0][0]), "master key check")
    if not hmac.compare_digest(found.reveal(), _KNOWN):
        raise MasterKeyMismatch("the store's master key check holds something else")


def sqlite_path(url: str) -> Path:
    """Return the path in ``sqlite:PATH`` or ``sqlite:///PATH``; raise `LocalError` if it names none."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path:
        raise LocalError(f"{url!r}: write sqlite:PATH, with a path on this machine")
    path = unquote(parts.path)
    return (
        Path("/" + path.lstrip("/")) if path.startswith("//") or url.startswith("sqlite:///") else Path(path)
    )


async def _open_sqlite(
    path: Path, create: bool, replay_from_s: int | None
) -> tuple[Database, Database, StoredReplayCache | None]:
    """Return directory, audit log and replay cache; no cache where *replay_from_s* is None."""
    if not create and not path.is_file():
        raise LocalError(f"there is no store at {path}; make one with: sipmikey kms init")
    new = not path.exists()
    directory = SqliteDatabase(path, create=create)
    await migrate(directory, "directory", DIRECTORY)
    await migrate(directory, "console", CONSOLE)
    await migrate(directory, "master key", MASTER_KEY)
    audit = SqliteDatabase(path.with_name(path.name + "-audit"), create=True)
    await migrate(audit, "audit", AUDIT)
    if replay_from_s is None:
        return directory, audit, None
    database = SqliteDatabase(path.with_name(path.name + "-replay"), create=True, durable=False)
    await migrate(database, "replay", REPLAY)
    replay = DatabaseReplayCache(database, system_boot(Path("/proc/sys/kernel/random/boot_id").read_text))
    await replay.begin(floor_s=0 if new else replay_from_s)
    return directory, audit, replay


async def _open_postgres(
    url: str, create: bool, replay_from_s: int | None
) -> tuple[Database, Database, StoredReplayCache | None]:
    """Return directory, audit log and replay cache; no cache where *replay_from_s* is None."""
    try:
        from sipmikey.kms.stores.postgres import PostgresDatabase
    except ImportError:
        raise LocalError("a PostgreSQL store needs asyncpg: pip install 'sipmikey[postgresql]'") from None
    directory = await PostgresDatabase.connect(url, connections=4, durable=True)
    try:
        there = bool((await directory.fetch("SELECT to_regclass('schema_version') IS NOT NULL"))[0][0])
        if not there and not create:
            raise LocalError("the database holds no KMS; make one with: sipmikey kms init")
        await migrate(directory, "directory", DIRECTORY)
        await migrate(directory, "console", CONSOLE)
        await migrate(directory, "master key", MASTER_KEY)
        await migrate(directory, "audit", AUDIT)
        await migrate(directory, "replay", REPLAY)
        log = await PostgresDatabase.connect(url, connections=8, durable=False)
    except BaseException:
        await directory.close()
        raise
    if replay_from_s is None:
        return directory, log, None
    replay = DatabaseReplayCache(log, "")
    await replay.begin(floor_s=replay_from_s if there else 0)
    return directory, log, replay
