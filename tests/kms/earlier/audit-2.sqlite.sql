BEGIN TRANSACTION;
CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, exchange TEXT NOT NULL, decision TEXT NOT NULL,
            reason TEXT NOT NULL, subscriber TEXT NOT NULL, identity TEXT NOT NULL, peers TEXT NOT NULL,
            ticket TEXT NOT NULL, credential TEXT NOT NULL, rule TEXT NOT NULL, kms TEXT NOT NULL,
            source TEXT NOT NULL, detail TEXT NOT NULL, several INTEGER NOT NULL);
INSERT INTO "audit" VALUES(1,1800000000000000000,'request','granted','granted','alice','sip:alice@example.com','sip:bob@example.com','0102030405060708','616c6963652d31','all','','192.0.2.1','',0);
CREATE TABLE credential_use (credential TEXT PRIMARY KEY, used_s INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "credential_use" VALUES('616c6963652d31',1800000000);
CREATE TABLE schema_version (part TEXT PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES('audit',2);
CREATE INDEX audit_time ON audit (time_ns);
CREATE INDEX audit_ticket ON audit (ticket);
CREATE INDEX audit_subscriber ON audit (subscriber);
CREATE INDEX audit_identity ON audit (identity);
CREATE INDEX audit_peers ON audit (peers);
CREATE INDEX audit_several ON audit (id) WHERE several = 1;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',1);
COMMIT;
