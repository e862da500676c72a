"""What an administrator sees: status with its exit codes, names in audit and log, the life of the server."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sipmikey.cli.kms.status import without_password
from sipmikey.kms.audit import key_name
from sipmikey.kms.enrolment.records import DeviceRecord, InvitationRecord, IssuedCredential
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.ticket_key import TicketKeyWatch
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.vault import FileMasterKey
from sipmikey.kms.subscribers import PskRecord
from sipmikey.mikey.secret import Secret
from tests.cli.test_kms import Kms
from tests.cli.test_kms import kms as kms
from tests.kms.http.serving import ALICE, BOB, Site, Subscriber, serving

FREE = ("status", "--no-server")


def parts(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {document["part"]: document for document in documents if document["type"] == "kms.status"}


def test_a_kms_that_is_well_says_so_part_by_part(kms: Kms) -> None:
    kms.json("user", "add", ALICE, "--valid-days", "100")
    found = parts(kms.json(*FREE))
    assert set(found) == {
        "store", "replay", "audit", "clock", "ticket key", "keys", "devices", "invitations", "certificate",
        "all",
    }  # fmt: skip
    assert (found["store"]["subscribers"], found["keys"]["keys"], found["keys"]["never_used"]) == (1, 1, 1)
    assert {part for part, document in found.items() if document["state"] != "ok"} <= {"clock", "all"}
    code, out, _ = kms.run(*FREE, "--keys")
    assert code == 0
    assert "never used" in out
    assert len([line for line in out.splitlines() if " ok " in line]) >= 8


def test_what_ends_soon_is_a_warning_and_an_exit_code_when_asked(kms: Kms) -> None:
    kms.json("user", "add", ALICE, "--valid-days", "5", "--psk-id", "alice-1")
    code, out, _ = kms.run(*FREE)
    assert code == 0
    assert "end within 14 days: alice-1" in out
    assert kms.run(*FREE, "--strict")[0] == 4
    kms.json("user", "rotate", ALICE, "--psk-id", "alice-2", "--overlap-days", "0")
    assert parts(kms.json(*FREE, "--days", "3"))["keys"]["state"] == "ok"


def test_a_key_that_a_device_has_renewed_is_not_warned_of(kms: Kms) -> None:
    kms.json("user", "add", ALICE)
    asyncio.run(renew_one(kms.directory))
    keys = parts(kms.json(*FREE))["keys"]
    assert (keys["state"], keys["keys"], keys["renewed"], keys["expiring"]) == ("ok", 3, 1, 0)


async def renew_one(directory: Path) -> None:
    """Enrol a device of `ALICE` and renew its key, the old one ending in a day."""
    now_s = int(time.time())
    store = await open_store(
        f"sqlite:{directory}/kms.sqlite", FileMasterKey(directory / "master.key").master_key()
    )
    record = DeviceRecord(
        device="alice.1", subscriber=ALICE, identity=ALICE, name="phone", key=Secret(bytes(32)), generation=1,
        enrolled_s=now_s, seen_s=now_s, valid_until_s=now_s + 90 * 86_400,
    )  # fmt: skip
    invitation = InvitationRecord(
        number="0000", subscriber=ALICE, identity=ALICE, key=Secret(bytes(32)), created_s=now_s,
        expires_s=now_s + 60,
    )  # fmt: skip
    try:
        await store.devices.invite([invitation])
        assert await store.devices.redeem(
            "0000", record, issued(record), request=b"", answer=b"", now_s=now_s
        )
        newer = replace(record, generation=2)
        assert await store.devices.renew(newer, issued(newer), overlap_until_s=now_s + 86_400)
    finally:
        await store.close()


def issued(device: DeviceRecord) -> IssuedCredential:
    name = f"{device.device}.{device.generation}".encode()
    return IssuedCredential(
        psk=PskRecord(key_id=name, key=Secret(bytes(range(32))), valid_until_s=device.valid_until_s)
    )


def test_what_a_credential_names() -> None:
    assert key_name(b"alice-1".hex()) == "alice-1"
    assert key_name(b"a-name-of-thirty-two-octets-here".hex()) == "a-name-of-thirty-two-octets-here"
    for other in ("", bytes(range(32)).hex(), "invitation 7KQ2", "alice.3f2a91c0", b"\xff\x00".hex()):
        assert key_name(other) == ""


def test_what_does_not_work_has_an_exit_code(kms: Kms) -> None:
    code, out, _ = kms.run("status")
    assert (code, "nothing serves 127.0.0.1:8043" in out) == (4, True)
    with sqlite3.connect(kms.directory / "kms.sqlite-audit") as database:
        database.execute("DROP TABLE audit")
    code, out, _ = kms.run(*FREE)
    assert code == 4
    assert any(line.startswith("audit") and "failed" in line for line in out.splitlines())
    (kms.directory / "kms.sqlite").unlink()
    code, out, _ = kms.run(*FREE, "--json")
    assert code == 4
    assert parts([json.loads(line) for line in out.splitlines()])["store"]["state"] == "failed"


def test_no_password_is_shown() -> None:
    assert without_password("postgresql://kms:secret@db/kms") == "postgresql://kms@db/kms"
    assert without_password("redis://:secret@cache:6379/0") == "redis://@cache:6379/0"
    assert "secret" not in without_password("postgresql:///kms?host=/run&password=secret&user=kms")
    assert without_password("sqlite:kms.sqlite") == "sqlite:kms.sqlite"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_audit_and_log_name_what_was_asked_for(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    alice = site.add(ALICE)
    site.add(BOB)
    kms = Kms(site.directory, capsys)
    stranger = Subscriber(identity=ALICE, psk=type(alice.psk)(key=alice.psk.key, key_id=b"alice-of-old"))
    with serving(site) as service:
        assert service.post(alice.request(BOB).message)[0] == 200
        assert service.post(stranger.request(BOB).message)[0] == 401
        assert service.post(alice.request(BOB, kms="sip:kms@elsewhere.example").message)[0] == 404
        unknown, wrong_kms = (service.await_log("refused", count=count) for count in (1, 2))
        assert (unknown["psk_id"], unknown["identity"]) == ("alice-of-old", ALICE)
        assert wrong_kms["kms"] == "sip:kms@elsewhere.example"
        code, out, _ = kms.run("status")
        assert code == 4, "it serves another port than the configuration says"
        site.edit("127.0.0.1:8043", "{}:{}".format(*service.address))
        assert parts(kms.json("status"))["server"]["state"] == "ok"
        service.stop()
    code, out, _ = kms.run("audit")
    assert code == 0
    assert "key alice-of-old" in out
    assert "KMS sip:kms@elsewhere.example" in out
    assert "act add" in out
    assert "used" in kms.run("user", "list", ALICE)[1]
    (user,) = kms.json("user", "list", ALICE)
    assert abs(user["psks"][0]["used_s"] - time.time()) < 120


def test_start_reload_and_stop_are_in_the_log(site: Site) -> None:
    with serving(site) as service:
        started = service.await_log("started")
        assert started["listen"] == [service.url.removeprefix("http://")]
        service.process.send_signal(signal.SIGHUP)
        service.await_log("reloaded", count=3)
        service.stop()
        service.await_log("stopping")
        service.await_log("stopped")


def test_a_rotation_is_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What a worker looks at each minute, without waiting for it."""

    async def rotate_twice() -> None:
        key = FileMasterKey(site.directory / "master.key").master_key()
        store = await open_store(f"sqlite:{site.directory}/kms.sqlite", key)
        watch = TicketKeyWatch(store.ticket_keys, Metrics())
        try:
            await watch.look(now_s=int(time.time()))
            for _ in range(2):
                await store.ticket_keys.rotate(now_s=int(time.time()))
                await watch.look(now_s=int(time.time()))
                await watch.look(now_s=int(time.time()))
        finally:
            await store.close()

    with caplog.at_level("INFO", "sipmikey.kms"):
        asyncio.run(rotate_twice())
    assert [record.message for record in caplog.records] == ["ticket-key-rotated"]
