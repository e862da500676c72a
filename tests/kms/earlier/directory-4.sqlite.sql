BEGIN TRANSACTION;
CREATE TABLE access_token (
            name TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, created_s INTEGER NOT NULL,
            expires_s INTEGER, used_s INTEGER);
INSERT INTO "access_token" VALUES('okta',X'D47EEB2026759EC25CA1113CA141CB79DF850B1E2313DBDB9C5F4D28F1CD45D9',1800000000,NULL,NULL);
CREATE TABLE certificate (
            fingerprint BLOB PRIMARY KEY, subscriber_id INTEGER NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE, der BLOB NOT NULL, created_s INTEGER NOT NULL, device TEXT);
INSERT INTO "certificate" VALUES(X'03D66DD08835C1CA3F128CCEACD1F31AC94163096B20F445AE84285BC0832D72',1,X'6365727469666963617465',1800000000,NULL);
CREATE TABLE console_session (
            token BLOB PRIMARY KEY, kind TEXT NOT NULL, sealed BLOB NOT NULL,
            created_s INTEGER NOT NULL, seen_s INTEGER NOT NULL);
CREATE TABLE device (
            id TEXT PRIMARY KEY, subscriber_id INTEGER NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE, identity TEXT NOT NULL, name TEXT NOT NULL,
            sealed BLOB NOT NULL, generation INTEGER NOT NULL, enrolled_s INTEGER NOT NULL,
            seen_s INTEGER NOT NULL, valid_until_s INTEGER NOT NULL, revoked_s INTEGER);
INSERT INTO "device" VALUES('alice.00000001',1,'sip:alice@example.com','desk',X'01AEEC77D2BB1B6E40C3DBD51553B53D725992150495B59855E92CF7C87AE53EEAF03E4B32F2994010620CE94C0EC1A54E65FBC767907808B8B66B9A81',1,1800000000,1800000000,4000000000,NULL);
CREATE TABLE group_member (member TEXT NOT NULL, group_uri TEXT NOT NULL
            REFERENCES subscriber_group (uri) ON DELETE CASCADE,
            PRIMARY KEY (member, group_uri)) WITHOUT ROWID;
INSERT INTO "group_member" VALUES('sip:alice@example.com','sip:staff@example.com');
CREATE TABLE identity (uri TEXT PRIMARY KEY, subscriber_id INTEGER NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE) WITHOUT ROWID;
INSERT INTO "identity" VALUES('sip:alice@example.com',1);
INSERT INTO "identity" VALUES('tel:+46701',1);
INSERT INTO "identity" VALUES('sip:bob@example.com',2);
CREATE TABLE invitation (
            number TEXT PRIMARY KEY, subscriber_id INTEGER NOT NULL
            REFERENCES subscriber (id) ON DELETE CASCADE, identity TEXT NOT NULL, sealed BLOB,
            secrets BLOB, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,
            tries INTEGER NOT NULL DEFAULT 0, used_s INTEGER, revoked INTEGER NOT NULL DEFAULT 0,
            request BLOB, answer BLOB);
INSERT INTO "invitation" VALUES('AAAA',1,'sip:alice@example.com',X'01A249B5BCD1108336B4586304FA01183611CF91A83B702F713BF4B876448445BA565E62D5F5B5BBD0B02EA722246921BDB2C3B3BE58CFC890E0CFADA4',NULL,1800000000,4000000000,0,NULL,0,NULL,NULL);
INSERT INTO "invitation" VALUES('BBBB',1,'sip:alice@example.com',NULL,NULL,1800000000,4000000000,0,1800000000,0,X'646967657374',X'616E73776572');
CREATE TABLE master_key_change (
            one INTEGER PRIMARY KEY, old_key BLOB NOT NULL, new_key BLOB NOT NULL,
            began_s INTEGER NOT NULL, sealed_s INTEGER);
CREATE TABLE master_key_check (one INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
INSERT INTO "master_key_check" VALUES(1,X'0157A442D0DA1885E1641ADF4EA8028B0B038975B663A73B8AB15104DF348691CC03680B3FDE7FF0D3CFD7F221B5AD3FAE71B05038B106292ECD');
CREATE TABLE policy (
            id INTEGER PRIMARY KEY AUTOINCREMENT, created_s INTEGER NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL);
INSERT INTO "policy" VALUES(1,1800000000,'root','[[rule]]
name = "all"
from = ["*"]
to = ["*"]
decision = "allow"
');
CREATE TABLE provisioned_group (
            source TEXT NOT NULL, key TEXT NOT NULL, uri TEXT NOT NULL UNIQUE
            REFERENCES subscriber_group (uri) ON DELETE CASCADE, document TEXT NOT NULL,
            version INTEGER NOT NULL, created_s INTEGER NOT NULL, changed_s INTEGER NOT NULL,
            PRIMARY KEY (source, key));
CREATE TABLE provisioned_user (
            source TEXT NOT NULL, key TEXT NOT NULL, label TEXT NOT NULL, subscriber_id INTEGER NOT NULL UNIQUE
            REFERENCES subscriber (id) ON DELETE CASCADE, document TEXT NOT NULL, version INTEGER NOT NULL,
            closed INTEGER NOT NULL, created_s INTEGER NOT NULL, changed_s INTEGER NOT NULL,
            PRIMARY KEY (source, key),
            UNIQUE (source, label));
CREATE TABLE psk (
            key_id BLOB PRIMARY KEY,
            subscriber_id INTEGER NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
            sealed BLOB NOT NULL, valid_from_s INTEGER, valid_until_s INTEGER,
            created_s INTEGER NOT NULL, device TEXT) WITHOUT ROWID;
INSERT INTO "psk" VALUES(X'616C6963652D31',1,X'0166B3CC15A76AC4C693164050D95DBE75294320FDB86C44E1B3D409829E70D5FEE7941C41257B97FD338B0833AB66DC4DD1020037256B996841EBA62A',NULL,4000000000,1800000000,NULL);
INSERT INTO "psk" VALUES(X'616C6963652E30303030303030312E31',1,X'0135A9461AC7A34D461B1E67492F865DDC6527ECE886606E78466C21CE1D743419634188895732191494059F0468A6B255F16F4797C009809D618CC47A',NULL,4000000000,1800000000,'alice.00000001');
CREATE TABLE schema_version (part TEXT PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES('directory',4);
INSERT INTO "schema_version" VALUES('console',1);
INSERT INTO "schema_version" VALUES('master key',1);
CREATE TABLE subscriber (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, identities TEXT NOT NULL, enabled INTEGER NOT NULL,
            vouches_for TEXT NOT NULL DEFAULT '', created_s INTEGER NOT NULL);
INSERT INTO "subscriber" VALUES(1,'alice','sip:alice@example.com tel:+46701',1,'',1800000000);
INSERT INTO "subscriber" VALUES(2,'bob','sip:bob@example.com',0,'',1800000000);
CREATE TABLE subscriber_group (uri TEXT PRIMARY KEY, created_s INTEGER NOT NULL);
INSERT INTO "subscriber_group" VALUES('sip:staff@example.com',1800000000);
CREATE TABLE tpk (
            key_id BLOB PRIMARY KEY, owner_id INTEGER REFERENCES subscriber (id) ON DELETE CASCADE,
            sealed BLOB NOT NULL, created_s INTEGER NOT NULL, seals_until_s INTEGER,
            resolves_until_s INTEGER NOT NULL);
INSERT INTO "tpk" VALUES(X'C633767F4C4E34E1',NULL,X'019980B1C6CA8174226820468D0BBECB42501BE4AD790A238FDB26558EF87A3C2D549EDFB4C5F270720E4646A72AB98A1C9442CF9B3013AA0BC5D25D5F',1800000000,NULL,4000003200);
CREATE INDEX identity_subscriber ON identity (subscriber_id);
CREATE INDEX psk_subscriber ON psk (subscriber_id);
CREATE INDEX certificate_subscriber ON certificate (subscriber_id);
CREATE INDEX group_member_group ON group_member (group_uri);
CREATE INDEX invitation_subscriber ON invitation (subscriber_id);
CREATE INDEX device_subscriber ON device (subscriber_id);
CREATE INDEX psk_device ON psk (valid_until_s) WHERE device IS NOT NULL;
CREATE INDEX certificate_device ON certificate (device) WHERE device IS NOT NULL;
CREATE INDEX device_end ON device (valid_until_s);
CREATE INDEX device_revoked ON device (revoked_s) WHERE revoked_s IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('policy',1);
COMMIT;
