"""The audit log in a database."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from sipmikey.kms.audit import AuditEvent, AuditQuery, Decision, Exchange
from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.batch import Batch
from sipmikey.kms.stores.database import Database, Row, places
from sipmikey.printable import printable

_COLUMNS = (
    "time_ns, exchange, decision, reason, subscriber, identity, peers, "
    "ticket, credential, rule, kms, source, detail"
)
_INSERT = (
    f"INSERT INTO audit ({_COLUMNS}, several)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
)
_PROBE = (
    f"INSERT INTO audit ({_COLUMNS}, several)"
    " VALUES (0, 'unknown', 'refused', 'probe', '', '', '', '', '', '', '', '', '', 0)"
)
_USED = """INSERT INTO credential_use (credential, used_s) VALUES (?1, ?2)
    ON CONFLICT (credential) DO UPDATE SET used_s = excluded.used_s
    WHERE excluded.used_s > credential_use.used_s"""
_NS = 1_000_000_000
_UNFIT = re.compile("[\0\ud800-\udfff]")
"""What no database keeps (`UnfitText`)."""

_CONCERNS = """id IN (
    SELECT id FROM audit WHERE subscriber = {name} UNION SELECT id FROM audit WHERE identity = {name}
    UNION SELECT id FROM audit WHERE peers = {name}
    UNION SELECT id FROM audit WHERE several = 1 AND (' ' || peers || ' ') LIKE {among} ESCAPE '!')"""
"""Events about one party, an index for each column; ``several`` marks the few with more than one peer."""


class AuditStore:
    """Append-only log of decisions; satisfies `AuditLog`. Triggers refuse change and deletion.

    In an event loop, events that come while others are being written share the next transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch = Batch(self._insert)
        self._uses: dict[str, int] = {}

    async def append(self, event: AuditEvent) -> None:
        """Keep *event*. It survives the death of this process when this returns."""
        await self._batch.put(_row(event))
        tickets = event.exchange in (Exchange.REQUEST, Exchange.RESOLVE)
        if tickets and event.decision is not Decision.REFUSED and event.credential:
            used_s = event.time_ns // _NS
            self._uses[event.credential] = max(used_s, self._uses.get(event.credential, 0))

    async def _insert(self, rows: Sequence[Sequence[object]]) -> Sequence[None]:
        if len(rows) == 1:
            await self._database.execute(_INSERT, *rows[0])
        else:
            async with self._database.transaction() as transaction:
                await transaction.many(_INSERT, rows)
        return [None] * len(rows)

    async def query(self, query: AuditQuery) -> Sequence[AuditEvent]:
        """Return the events that fit *query*."""
        conditions: list[str] = []
        args: list[object] = []

        def place(value: object) -> str:
            args.append(value)
            return f"?{len(args)}"

        if query.ticket is not None:
            conditions.append(f"ticket = {place(query.ticket)}")
        if query.subscriber is not None:
            name, among = place(query.subscriber), place(f"% {_literal(query.subscriber)} %")
            conditions.append(_CONCERNS.format(name=name, among=among))
        if query.decision is not None:
            conditions.append(f"decision = {place(query.decision.value)}")
        if query.since_ns is not None:
            conditions.append(f"time_ns >= {place(query.since_ns)}")
        if query.until_ns is not None:
            conditions.append(f"time_ns < {place(query.until_ns)}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = "ASC" if query.oldest_first else "DESC"
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM audit{where} ORDER BY time_ns {order}, id {order}"
            f" LIMIT {place(query.limit)}",
            *args,
        )
        return [_event(row) for row in rows]

    async def keep_uses(self) -> None:
        """Write down when each credential was used last, of those used since the last time."""
        uses, self._uses = self._uses, {}
        if uses:
            try:
                await self._database.many(_USED, sorted(uses.items()))
            except StoreUnavailable:
                self._uses = {**uses, **self._uses}
                raise

    async def uses(self) -> dict[str, int]:
        """Return when each credential (as in `AuditEvent.credential`) last got a ticket or resolved one.

        Unix seconds; those of the last minute may be missing.
        """
        rows = await self._database.fetch("SELECT credential, used_s FROM credential_use")
        return {row[0]: row[1] for row in rows}

    async def uses_of(self, credentials: Sequence[str]) -> dict[str, int]:
        """Return the like of `uses` for some credentials."""
        rows = await self._database.fetch(
            f"SELECT credential, used_s FROM credential_use WHERE credential IN ({places(len(credentials))})",
            *credentials,
        )
        return {row[0]: row[1] for row in rows}

    async def last_use_of_names(self, beginning: bytes) -> int | None:
        """Return when a pre-shared key whose identifier has that *beginning* was used last, Unix seconds."""
        first = beginning.hex()
        rows = await self._database.fetch(
            "SELECT max(used_s) FROM credential_use WHERE credential >= ?1 AND credential < ?2",
            first,
            f"{first}g",  # after every hexadecimal digit
        )
        found: int | None = rows[0][0]
        return found

    async def ping(self) -> None:
        """Check that the log may be written, and its disk too; an entry would stay, so none is added."""
        await self._database.execute("INSERT INTO audit SELECT * FROM audit WHERE 1 = 0")
        await self._database.probe(_PROBE)

    async def close(self) -> None:
        """Close the database, once what was waiting has been written."""
        await self._batch.finish()
        with suppress(StoreUnavailable):
            await self.keep_uses()
        await self._database.close()


def _row(event: AuditEvent) -> Sequence[object]:
    """Return the row of *event*. The words of peers are in most of its texts."""
    texts = (
        event.reason,
        event.subscriber,
        event.identity,
        " ".join(event.peers),
        event.ticket,
        event.credential,
        event.rule,
        event.kms,
        event.source,
        event.detail,
    )
    kept = (_UNFIT.sub(lambda found: printable(found[0]), text) for text in texts)
    return event.time_ns, event.exchange.value, event.decision.value, *kept, int(len(event.peers) > 1)


def _literal(text: str) -> str:
    """Return *text* for LIKE with its wildcards escaped."""
    return re.sub(r"[!%_]", r"!\g<0>", text)


def _event(row: Row) -> AuditEvent:
    return AuditEvent(
        time_ns=row[0],
        exchange=Exchange(row[1]),
        decision=Decision(row[2]),
        reason=row[3],
        subscriber=row[4],
        identity=row[5],
        peers=tuple(row[6].split()),
        ticket=row[7],
        credential=row[8],
        rule=row[9],
        kms=row[10],
        source=row[11],
        detail=row[12],
    )
