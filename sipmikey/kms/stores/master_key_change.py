"""The change of a store's master key while it is served: two keys for a time, every secret sealed again.

The store holds each of both keys sealed under the other, so that a process with either has both. What is new
is sealed under the new key; what is old is sealed again, row by row. A change that breaks off goes on where
it stopped: whether a secret opens under the new key tells whether it is done.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipmikey.kms.stores.database import Database, Row
from sipmikey.kms.stores.vault import MasterKeyMismatch, Vault
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

BATCH = 500

_OLD, _NEW = "master key before", "master key after"


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A column of sealed secrets: what its rows are known by, and what each is bound to."""

    table: str
    column: str
    key: str
    bound: str
    identity: Callable[[Row], tuple[bytes | str, ...]]


def _bytes(row: Row) -> bytes:
    return bytes(row[0])


SEALED: tuple[_Sealed, ...] = (
    _Sealed("psk", "sealed", "key_id", "s.name", lambda row: ("psk", _bytes(row), row[2])),
    _Sealed("tpk", "sealed", "key_id", "''", lambda row: ("tpk", _bytes(row))),
    _Sealed("device", "sealed", "id", "''", lambda row: ("device", row[0])),
    _Sealed("invitation", "sealed", "number", "''", lambda row: ("invitation", row[0])),
    _Sealed("invitation", "secrets", "number", "''", lambda row: ("invitation secrets", row[0])),
    _Sealed("console_session", "sealed", "token", "''", lambda row: ("console session", _bytes(row))),
    _Sealed("master_key_check", "sealed", "one", "''", lambda row: ("master key check",)),
)
"""All there are; the mark of the store is the last, so that it tells when a change is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change under way. Times are Unix seconds; ``sealed_s``: when everything was under the new key."""

    began_s: int
    sealed_s: int | None


class MasterKeyChange:
    """The change of the master key of one store. *vault* is the store's own."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def refresh(self) -> Change | None:
        """Let the vault know of both keys while a change is under way; return it, or None."""
        rows = await self._database.fetch(
            "SELECT old_key, new_key, began_s, sealed_s FROM master_key_change WHERE one = 1"
        )
        if not rows:
            self._vault.forget_others()
            return None
        old_sealed, new_sealed, began_s, sealed_s = rows[0]
        try:
            # Under the key that this process was given: whichever of the two it is.
            self._vault.change_to(self._vault.open_first(bytes(new_sealed), _NEW))
        except MasterKeyMismatch:
            self._vault.change_from(self._vault.open_first(bytes(old_sealed), _OLD))
        return Change(began_s=began_s, sealed_s=sealed_s)

    async def begin(self, new: Secret, *, now_s: int) -> None:
        """Begin a change to *new* (32 bytes), or go on with the one under way.

        Raises `LocalError` where a change to another key is under way.
        """
        if await self.refresh() is not None:
            if not self._vault.changes_to(new):
                raise LocalError("the master key is being changed to another key: finish that first")
            return
        old = self._vault.first_key()
        if hmac.compare_digest(old.reveal(), new.reveal()):
            raise LocalError("this is the master key already")
        old_sealed = Vault(new).seal(old, _OLD)
        new_sealed = self._vault.seal(new, _NEW)
        await self._database.execute(
            """INSERT INTO master_key_change (one, old_key, new_key, began_s) VALUES (1, ?1, ?2, ?3)
            ON CONFLICT DO NOTHING""",
            old_sealed,
            new_sealed,
            now_s,
        )
        await self.refresh()
        if not self._vault.changes_to(new):
            raise LocalError("the master key is being changed to another key: finish that first")

    async def seal_again(self, progress: Callable[[int], None] = lambda count: None, *, now_s: int) -> int:
        """Seal everything under the new key that is not yet; return how much that was.

        Every process that seals must know of the change by now.
        """
        count = 0
        for sealed in SEALED:
            count += await self._table(sealed, lambda done, before=count: progress(before + done))  # type: ignore[misc]
        await self._database.execute(
            "UPDATE master_key_change SET sealed_s = ?1 WHERE one = 1 AND sealed_s IS NULL", now_s
        )
        return count

    async def finish(self) -> None:
        """Forget the old key: what was given it opens the store no more.

        Raises `LocalError` where no change is under way, or not everything is sealed under the new key.
        """
        change = await self.refresh()
        if change is None:
            raise LocalError("no change of the master key is under way")
        if not self._vault.given_is_new():
            raise LocalError(
                "this KMS is still given the old key: name the new one in store.master_key, and restart"
                " what serves, before the old one is forgotten"
            )
        if change.sealed_s is None:
            raise LocalError("not everything is sealed under the new key yet: let the change come to its end")
        # A process that did not know of the change may have sealed something since.
        for sealed in SEALED:
            await self._table(sealed, lambda done: None)
        await self._database.execute("DELETE FROM master_key_change WHERE one = 1")
        self._vault.forget_others()

    async def _table(self, sealed: _Sealed, progress: Callable[[int], None]) -> int:
        """Seal the rows of one column again, in the order of their keys, a transaction a batch."""
        done, after = 0, None
        while rows := await self._page(sealed, after):
            after = rows[-1][0]
            changed = [
                (self._vault.seal(secret, *identity), row[0], bytes(row[1]))
                for row in rows
                if (secret := self._old(row, identity := sealed.identity(row))) is not None
            ]
            if changed:
                async with self._database.transaction() as transaction:
                    # Not where the row was sealed by somebody else meanwhile, or is gone.
                    await transaction.many(
                        f"UPDATE {sealed.table} SET {sealed.column} = ?1 "
                        f"WHERE {sealed.key} = ?2 AND {sealed.column} = ?3",
                        changed,
                    )
            done += len(changed)
            progress(done)
        return done

    def _old(self, row: Row, identity: Sequence[bytes | str]) -> Secret | None:
        """Return the secret of a row that is not sealed under the new key, None of others."""
        if self._vault.is_new(bytes(row[1]), *identity):
            return None
        return self._vault.open(bytes(row[1]), *identity)

    async def _page(self, sealed: _Sealed, after: object) -> Sequence[Row]:
        join = " JOIN subscriber s ON s.id = t.subscriber_id" if sealed.bound == "s.name" else ""
        where = f"t.{sealed.column} IS NOT NULL" + ("" if after is None else f" AND t.{sealed.key} > ?1")
        args = () if after is None else (after,)
        return await self._database.fetch(
            f"SELECT t.{sealed.key}, t.{sealed.column}, {sealed.bound} FROM {sealed.table} t{join} "
            f"WHERE {where} ORDER BY t.{sealed.key} LIMIT {BATCH}",
            *args,
        )
