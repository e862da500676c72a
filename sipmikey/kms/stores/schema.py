"""Tables of a store, as numbered migrations."""

from __future__ import annotations

from sipmikey.kms.stores.database import Database
from sipmikey.mikey.errors import LocalError

_TYPES = {
    "sqlite": {
        "BYTES": "BLOB",
        "INT": "INTEGER",
        "ID": "INTEGER PRIMARY KEY",
        "SERIAL": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "COMPACT": "WITHOUT ROWID",
        "UNLOGGED": "",
    },
    "postgresql": {
        "BYTES": "BYTEA",
        "INT": "BIGINT",
        "ID": "BIGINT PRIMARY KEY",
        "SERIAL": "BIGSERIAL PRIMARY KEY",
        "COMPACT": "",
        "UNLOGGED": "UNLOGGED ",
    },
}

DIRECTORY: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE subscriber (
            id {ID}, name TEXT NOT NULL UNIQUE, identities TEXT NOT NULL, enabled {INT} NOT NULL,
            vouches_for TEXT NOT NULL DEFAULT '', created_s {INT} NOT NULL)""",
        """CREATE TABLE identity (uri TEXT PRIMARY KEY, subscriber_id {INT} NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE) {COMPACT}""",
        "CREATE INDEX identity_subscriber ON identity (subscriber_id)",
        """CREATE TABLE psk (
            key_id {BYTES} PRIMARY KEY,
            subscriber_id {INT} NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
            sealed {BYTES} NOT NULL, valid_from_s {INT}, valid_until_s {INT},
            created_s {INT} NOT NULL) {COMPACT}""",
        "CREATE INDEX psk_subscriber ON psk (subscriber_id)",
        """CREATE TABLE certificate (
            fingerprint {BYTES} PRIMARY KEY, subscriber_id {INT} NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE, der {BYTES} NOT NULL, created_s {INT} NOT NULL)""",
        "CREATE INDEX certificate_subscriber ON certificate (subscriber_id)",
        "CREATE TABLE subscriber_group (uri TEXT PRIMARY KEY, created_s {INT} NOT NULL)",
        """CREATE TABLE group_member (member TEXT NOT NULL, group_uri TEXT NOT NULL
            REFERENCES subscriber_group (uri) ON DELETE CASCADE,
            PRIMARY KEY (member, group_uri)) {COMPACT}""",
        "CREATE INDEX group_member_group ON group_member (group_uri)",
        """CREATE TABLE tpk (
            key_id {BYTES} PRIMARY KEY, owner_id {INT} REFERENCES subscriber (id) ON DELETE CASCADE,
            sealed {BYTES} NOT NULL, created_s {INT} NOT NULL, seals_until_s {INT},
            resolves_until_s {INT} NOT NULL)""",
        """CREATE TABLE policy (
            id {SERIAL}, created_s {INT} NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL)""",
        "CREATE TABLE master_key_check (one {INT} PRIMARY KEY, sealed {BYTES} NOT NULL)",
    ),
    (
        """CREATE TABLE invitation (
            number TEXT PRIMARY KEY, subscriber_id {INT} NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE, identity TEXT NOT NULL, sealed {BYTES},
            secrets {BYTES}, created_s {INT} NOT NULL, expires_s {INT} NOT NULL,
            tries {INT} NOT NULL DEFAULT 0, used_s {INT}, revoked {INT} NOT NULL DEFAULT 0,
            request {BYTES}, answer {BYTES})""",
        "CREATE INDEX invitation_subscriber ON invitation (subscriber_id)",
        """CREATE TABLE device (
            id TEXT PRIMARY KEY, subscriber_id {INT} NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE, identity TEXT NOT NULL, name TEXT NOT NULL,
            sealed {BYTES} NOT NULL, generation {INT} NOT NULL, enrolled_s {INT} NOT NULL,
            seen_s {INT} NOT NULL, valid_until_s {INT} NOT NULL, revoked_s {INT})""",
        "CREATE INDEX device_subscriber ON device (subscriber_id)",
        "ALTER TABLE psk ADD COLUMN device TEXT",
        "ALTER TABLE certificate ADD COLUMN device TEXT",
    ),
    (
        "CREATE INDEX psk_device ON psk (valid_until_s) WHERE device IS NOT NULL",
        "CREATE INDEX certificate_device ON certificate (device) WHERE device IS NOT NULL",
        "CREATE INDEX device_end ON device (valid_until_s)",
        "CREATE INDEX device_revoked ON device (revoked_s) WHERE revoked_s IS NOT NULL",
    ),
    (
        """CREATE TABLE provisioned_user (
            source TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL, subscriber_id {INT} NOT NULL UNIQUE
            REFERENCES subscriber (id) ON DELETE CASCADE, document TEXT NOT NULL, version {INT} NOT NULL,
            closed {INT} NOT NULL, created_s {INT} NOT NULL, changed_s {INT} NOT NULL,
            PRIMARY KEY (source, key),
            UNIQUE (source, label))""",
        """CREATE TABLE provisioned_group (
            source TEXT NOT NULL, key TEXT NOT NULL, uri TEXT NOT NULL UNIQUE
            REFERENCES subscriber_group (uri) ON DELETE CASCADE, document TEXT NOT NULL,
            version {INT} NOT NULL, created_s {INT} NOT NULL, changed_s {INT} NOT NULL,
            PRIMARY KEY (source, key))""",
        """CREATE TABLE access_token (
            name TEXT PRIMARY KEY, digest {BYTES} NOT NULL UNIQUE, created_s {INT} NOT NULL,
            expires_s {INT}, used_s {INT})""",
    ),
    (
        "CREATE INDEX device_enrolled ON device (enrolled_s, id)",
        "CREATE INDEX invitation_created ON invitation (created_s, number)",
    ),
)
"""Subscribers, credentials, groups, TPKs and the policy table; invitations and devices; what has ended;
what is kept elsewhere; lists of the newest."""

REPLAY: tuple[tuple[str, ...], ...] = (
    (
        """CREATE {UNLOGGED}TABLE replay (
            expires_s {INT} NOT NULL, digest {BYTES} NOT NULL, PRIMARY KEY (expires_s, digest)) {COMPACT}""",
        """CREATE {UNLOGGED}TABLE replay_floor (
            one {INT} PRIMARY KEY, stamped_s {INT} NOT NULL, boot TEXT NOT NULL)""",
    ),
)
"""Digests of messages seen, and the mark that tells whether the memory is whole.

The expiry leads the key, so that forgetting is the deletion of a range.
"""

_APPEND_ONLY = {
    "sqlite": (
        """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
        """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    ),
    "postgresql": (
        """CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$""",
        """CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
            FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()""",
    ),
}

AUDIT: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE audit (
            id {SERIAL}, time_ns {INT} NOT NULL, exchange TEXT NOT NULL, decision TEXT NOT NULL,
            reason TEXT NOT NULL, subscriber TEXT NOT NULL, identity TEXT NOT NULL, peers TEXT NOT NULL,
            ticket TEXT NOT NULL, credential TEXT NOT NULL, rule TEXT NOT NULL, kms TEXT NOT NULL,
            source TEXT NOT NULL, detail TEXT NOT NULL, several {INT} NOT NULL)""",
        "CREATE INDEX audit_time ON audit (time_ns)",
        "CREATE INDEX audit_ticket ON audit (ticket)",
        "CREATE INDEX audit_subscriber ON audit (subscriber)",
        "CREATE INDEX audit_identity ON audit (identity)",
        "CREATE INDEX audit_peers ON audit (peers)",
        "CREATE INDEX audit_several ON audit (id) WHERE several = 1",
        "APPEND ONLY",
    ),
    ("CREATE TABLE credential_use (credential TEXT PRIMARY KEY, used_s {INT} NOT NULL) {COMPACT}",),
)
"""Decisions. Triggers refuse change and deletion. Beside them, when each credential was used last."""


CONSOLE: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE console_session (
            token {BYTES} PRIMARY KEY, kind TEXT NOT NULL, sealed {BYTES} NOT NULL,
            created_s {INT} NOT NULL, seen_s {INT} NOT NULL)""",
    ),
)
"""Sessions of the console, by a digest of the token."""

MASTER_KEY: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE master_key_change (
            one {INT} PRIMARY KEY, old_key {BYTES} NOT NULL, new_key {BYTES} NOT NULL,
            began_s {INT} NOT NULL, sealed_s {INT})""",
    ),
)
"""The change of the master key that is under way, if one is: each key sealed under the other."""


async def migrate(database: Database, part: str, migrations: tuple[tuple[str, ...], ...]) -> int:
    """Bring *part* of a database up to date, one transaction a step; return its version.

    Raises `LocalError` if the database was made by a later release.
    """
    await database.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (part TEXT PRIMARY KEY, version INTEGER NOT NULL)"
    )
    for target in range(1, len(migrations) + 1):
        async with database.transaction() as transaction:
            if transaction.dialect == "postgresql":
                await transaction.execute("LOCK TABLE schema_version")
            rows = await transaction.fetch("SELECT version FROM schema_version WHERE part = ?1", part)
            version = int(rows[0][0]) if rows else 0
            if version > len(migrations):
                raise LocalError(
                    f"the {part} tables are of version {version}, newer than this release knows: upgrade"
                )
            if version >= target:
                continue
            for statement in _statements(migrations[target - 1], transaction.dialect):
                await transaction.execute(statement)
            await transaction.execute(
                """INSERT INTO schema_version (part, version) VALUES (?1, ?2)
                ON CONFLICT (part) DO UPDATE SET version = excluded.version""",
                part,
                target,
            )
    return len(migrations)


def _statements(migration: tuple[str, ...], dialect: str) -> list[str]:
    statements: list[str] = []
    for statement in migration:
        if statement == "APPEND ONLY":
            statements.extend(_APPEND_ONLY[dialect])
        else:
            statements.append(statement.format(**_TYPES[dialect]))
    return statements
