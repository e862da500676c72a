"""Devices after their enrolment: profile, renewal, loss; and the store they are in."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sipmikey.kms.administration.devices import last_uses
from sipmikey.kms.audit import Exchange
from sipmikey.kms.enrolment.authority import DeviceAuthority
from sipmikey.kms.enrolment.desk import EnrolmentSettings
from sipmikey.kms.enrolment.device import Question, redeem
from sipmikey.kms.enrolment.device_lines import format_device, parse_device
from sipmikey.kms.enrolment.documents import Act, Envelope
from sipmikey.kms.enrolment.noise import Responder, _State
from sipmikey.kms.enrolment.profile import Profile, loosened
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.schema import AUDIT, DIRECTORY, migrate
from sipmikey.kms.stores.sqlite import SqliteDatabase
from sipmikey.kms.subscribers import PskRecord, format_subscribers, parse_subscribers
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from tests.kms.domain import KMS, Clock, psk_of, subscriber, uri
from tests.kms.enrolment.site import ALICE, MASTER, PROFILE, site
from tests.kms.test_stores import awaited, fresh, opened

DAY = 86_400


@awaited
async def test_a_profile_is_fetched_when_it_changed(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/kms.sqlite") as kms:
        enrolled = await kms.enrol()
        same = await kms.ask(enrolled, Act.PROFILE, version=PROFILE.version)
        assert same.given.profile is None
        assert same.given.valid_until_s == enrolled.given.valid_until_s
        kms.desk.settings.profile = Profile(settings={"sip": {"registrar": "sip:other.example.com"}})
        changed = await kms.ask(enrolled, Act.PROFILE, version=PROFILE.version)
        assert changed.given.profile == kms.desk.settings.profile


@awaited
async def test_a_key_is_renewed_and_the_old_one_ends(store_url: str) -> None:
    async with site(store_url) as kms:
        enrolled = await kms.enrol()
        other = await kms.enrol()
        kms.desk.settings.overlap_days = 7
        kms.clock.advance(70 * DAY)
        renewed = await kms.ask(enrolled, Act.RENEW)
        assert renewed.given.psk_id == f"{enrolled.given.device}.2"
        assert renewed.psk != enrolled.psk
        now_s = kms.clock.seconds()
        keys = {
            psk.key_id.decode(): psk for psk in (await kms.store.subscribers.get(ALICE, with_keys=True)).psks
        }
        assert keys[renewed.given.psk_id].key == renewed.psk
        assert keys[renewed.given.psk_id].valid_until_s == renewed.given.valid_until_s == now_s + 90 * DAY
        assert keys[enrolled.given.psk_id].valid_until_s == now_s + 7 * DAY
        assert keys[other.given.psk_id].valid_until_s == other.given.valid_until_s, "another device's key"
        kms.clock.advance(25 * DAY)
        reply = await kms.post(kms.question(other, Act.RENEW).body)
        assert (reply.status, reply.reason) == (403, "device-not-valid"), "its key has expired"
        assert (await kms.ask(enrolled, Act.RENEW)).given.psk_id.endswith(".3")


@awaited
async def test_two_renewals_at_once_give_one_key(store_url: str) -> None:
    async with site(store_url) as one, site(store_url, clock=one.clock) as two:
        enrolled = await one.enrol()
        bodies = [one.question(enrolled, Act.RENEW).body for _ in range(2)]
        replies = await asyncio.gather(one.desk.handle(bodies[0]), two.desk.handle(bodies[1]))
        statuses = sorted(reply.status for reply in replies)
        assert statuses in ([200, 200], [200, 409])
        (record,) = await one.store.devices.devices()
        assert record.generation == 1 + statuses.count(200)
        assert len((await one.store.subscribers.get(ALICE)).psks) == record.generation


@awaited
async def test_devices_are_carried_over_and_go_on_at_the_other_kms(tmp_path: Path) -> None:
    async with (
        site(f"sqlite:{tmp_path}/old.sqlite") as old,
        site(f"sqlite:{tmp_path}/new.sqlite", clock=old.clock) as new,
    ):
        kept, lost = await old.enrol(), await old.enrol()
        assert await old.store.devices.revoke_device(lost.given.device, now_s=old.clock.seconds())
        records = [record async for record in old.store.subscribers.records(with_keys=True)]
        await new.store.subscribers.load(parse_subscribers(format_subscribers(records)))
        carried = [device async for device in old.store.devices.carried()]
        lines = [json.loads(format_device(device, with_key=True)) for device in carried]
        await new.store.devices.carry_in([parse_device(line) for line in lines])
        assert await new.store.devices.devices() == await old.store.devices.devices()
        assert (await new.ask(kept, Act.RENEW)).given.psk_id.endswith(".2")
        assert (await new.post(new.question(lost, Act.RENEW).body)).status == 403
        for wrong in (
            {**lines[0], "subscriber": "nobody", "device": "other.1"},
            lines[0],  # there already
            {name: value for name, value in lines[0].items() if name != "key"},
            {**lines[0], "key": "AAAA"},
            {**lines[0], "generation": True},
            {**lines[0], "certificates": ["xyz"]},
            {**lines[0], "colour": 1},
            {**lines[0], "name": None},
        ):
            with pytest.raises(LocalError) as caught:
                await new.store.devices.carry_in([parse_device(wrong)])
            assert lines[0]["key"] not in str(caught.value)


@awaited
async def test_a_lost_device_is_revoked_alone(store_url: str) -> None:
    async with site(store_url) as kms:
        lost, kept = await kms.enrol(), await kms.enrol()
        assert await kms.store.devices.revoke_device(lost.given.device, now_s=kms.clock.seconds())
        assert not await kms.store.devices.revoke_device(lost.given.device, now_s=kms.clock.seconds())
        await fresh(kms.store, lambda: kms.store.subscribers.psk_by_key_id(lost.given.psk_id.encode()), None)
        assert await kms.store.subscribers.psk_by_key_id(kept.given.psk_id.encode()) is not None
        reply = await kms.post(kms.question(lost, Act.RENEW).body)
        assert (reply.status, reply.reason) == (403, "device-not-valid")
        assert (await kms.ask(kept, Act.PROFILE)).given.profile == PROFILE
        await kms.ask(kept, Act.LEAVE)
        assert (await kms.post(kms.question(kept, Act.PROFILE).body)).status == 403
        assert (await kms.store.subscribers.get(ALICE)).psks == ()
        assert [event.rule for event in await kms.audit()] == ["redeem", "redeem", "", "profile", "leave", ""]


@awaited
async def test_a_key_of_low_order_of_a_device_is_refused_in_words_and_changes_nothing(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/kms.sqlite") as kms:
        enrolled = await kms.enrol()
        before = await kms.store.devices.devices()
        kms.clock.advance(10)
        for act in (Act.PROFILE, Act.RENEW, Act.LEAVE):
            body = low_order(kms.question(enrolled, act), enrolled.device_key, device=enrolled.given.device)
            reply = await kms.post(body)
            assert (reply.status, reply.reason) == (400, "malformed-enrolment"), act
        assert await kms.store.devices.devices() == before
        code = await kms.invite()
        question = redeem(code, name="laptop", random=os.urandom)
        reply = await kms.post(low_order(question, code.key(), invitation=code.number))
        assert reply.reason == "malformed-enrolment"
        assert (await kms.redeem(code)).status == 200, "the code can still be used"


def low_order(question: Question, key: Secret, *, device: str = "", invitation: str = "") -> bytes:
    """Return what *question* asks, with an X25519 key that agrees on zero with every other."""
    envelope = Envelope.decode(question.body)
    payload = Responder(key, prologue=envelope.prologue, random=os.urandom).read(envelope.message)
    state = _State(key, envelope.prologue)
    state.mix_public(bytes(32))
    message = bytes(32) + state.seal(payload)
    return Envelope(device=device, invitation=invitation, message=message).encode()


@awaited
async def test_what_ended_long_ago_is_forgotten_with_its_keys(store_url: str) -> None:
    settings = EnrolmentSettings(kms_identity=KMS, authority=authority())
    async with site(store_url, settings=settings) as kms:
        idle, renewing = await kms.enrol(), await kms.enrol()
        signed = await kms.enrol(csr=csr(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
        assert signed.given.certificate
        kms.clock.advance(80 * DAY)
        await kms.ask(renewing, Act.RENEW)
        await kms.store.subscribers.add_psk(ALICE, PskRecord(key_id=b"own", key=MASTER, valid_until_s=1))
        kms.clock.advance((30 + 30) * DAY)  # the end of the old key, and what is left to it after that
        kms.clock.advance(60)
        await kms.store.devices.forget_expired(now_s=kms.clock.seconds())
        record = await kms.store.subscribers.get(ALICE)
        assert {psk.key_id.decode() for psk in record.psks} == {f"{renewing.given.device}.2", "own"}
        assert record.certificates == ()
        assert [device.device for device in await kms.store.devices.devices()] == [renewing.given.device]
        assert idle.given.psk_id.encode().hex() not in await kms.store.devices.credentials()


@awaited
async def test_a_removed_or_disabled_user_has_no_devices(store_url: str) -> None:
    async with site(store_url) as kms:
        enrolled = await kms.enrol()
        await kms.store.subscribers.set_enabled(ALICE, False)
        assert (await kms.post(kms.question(enrolled, Act.PROFILE).body)).status == 403
        await kms.store.subscribers.remove(ALICE)
        assert await kms.store.devices.devices() == []
        assert (await kms.post(kms.question(enrolled, Act.PROFILE).body)).reason == "device-not-valid"


@awaited
async def test_a_question_is_taken_once_and_at_its_time(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/kms.sqlite") as kms:
        enrolled = await kms.enrol()
        question = kms.question(enrolled, Act.RENEW)
        assert (await kms.post(question.body)).status == 200
        assert (await kms.post(question.body)).reason == "replayed-message"
        for off_s in (-400, 400):
            reply = await kms.post(kms.question(enrolled, Act.RENEW, off_s=off_s).body)
            assert reply.reason == "invalid-timestamp"
        stranger = replace(enrolled, device_key=enrolled.psk)
        assert (await kms.post(kms.question(stranger, Act.RENEW).body)).reason == "device-not-valid"


def authority() -> DeviceAuthority:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "devices of example.com")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return DeviceAuthority(certificate=certificate, private_key=key)


def csr(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sip:victim@example.com")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


@awaited
async def test_a_certificate_names_the_one_who_was_invited_whatever_was_asked(tmp_path: Path) -> None:
    settings = EnrolmentSettings(kms_identity=KMS, authority=authority())
    async with site(f"sqlite:{tmp_path}/kms.sqlite", settings=settings) as kms:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        enrolled = await kms.enrol(csr=csr(key))
        assert enrolled.given.psk_id == ""
        certificate = x509.load_pem_x509_certificate(enrolled.given.certificate.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [ALICE]
        assert b"victim" not in certificate.public_bytes(Encoding.DER)
        assert certificate.public_key() == key.public_key()
        certificate.verify_directly_issued_by(settings.authority.certificate)  # type: ignore[union-attr]
        der = certificate.public_bytes(Encoding.DER)
        fingerprint = hashlib.sha256(der).digest()
        owner = await kms.store.subscribers.principal_by_certificate(fingerprint)
        assert owner is not None
        (event, *_) = await kms.audit()
        assert event.credential == fingerprint.hex()
        await kms.store.audit.append(replace(event, exchange=Exchange.REQUEST, time_ns=kms.clock()))
        await kms.store.maintain()
        assert await last_uses(kms.store) == {enrolled.given.device: kms.clock.seconds()}
        await kms.store.devices.revoke_device(enrolled.given.device, now_s=1)
        assert await kms.store.subscribers.certificates_of(ALICE) == []
        request = csr(key)
        forged = request[:-1] + bytes((request[-1] ^ 1,))
        for bad in (b"not a request", csr(ec.generate_private_key(ec.SECP256R1())), forged):
            code = await kms.invite()
            assert (await kms.redeem(code, csr=bad)).reason == "malformed-enrolment"
            assert (await kms.redeem(code)).status == 200, "the code can still be used"
        kms.desk.settings.authority = None
        assert (await kms.redeem(await kms.invite(), csr=csr(key))).reason == "no-certificates"


def test_a_profile_holds_no_setting_of_one_device() -> None:
    for settings in (
        {"media": {"record": "/home/alice/.bashrc"}},
        {"kms": {"psk_file": "x"}},
        {"odd": {"a": 1}},
    ):
        with pytest.raises(LocalError):
            Profile(settings=settings)
    with pytest.raises(LocalError):
        Profile(files={"media.play": "x"})
    with pytest.raises(LocalError):
        Profile(files={"kms.ca_file": "x" * 40_000})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, 0),
        ({}, {"policy": "preferred"}, 1),
        ({"policy": "preferred"}, {"policy": "required"}, 0),
        ({"policy": "preferred"}, {}, 0),
        ({"policy": "preferred"}, {"policy": "preferred", "fallback": "both"}, 1),
        ({}, {"contacts": {"sip:bob@example.com": "off"}}, 1),
        ({"contacts": {"sip:bob@example.com": "off"}}, {}, 0),
        ({}, {"transfer": True, "alternative": "sdes"}, 2),
        ({}, {"policy": "whatever"}, 1),
    ],
)  # fmt: skip
def test_a_profile_that_protects_less_is_noticed(
    old: dict[str, object], new: dict[str, object], expected: int
) -> None:
    found = loosened(Profile(settings={"security": old}), Profile(settings={"security": new}))
    assert len(found) == expected, found


@awaited
async def test_a_store_of_the_last_release_is_taken_over_with_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "kms.sqlite"
    old = SqliteDatabase(path, create=True)
    await migrate(old, "directory", DIRECTORY[:1])
    log = SqliteDatabase(path.with_name("kms.sqlite-audit"), create=True)
    await migrate(log, "audit", AUDIT[:1])
    await old.execute(
        "INSERT INTO subscriber (id, name, identities, enabled, created_s) VALUES (1, 'alice', ?1, 1, 1)",
        ALICE,
    )
    await old.execute("INSERT INTO identity (uri, subscriber_id) VALUES (?1, 1)", ALICE)
    await old.close()
    await log.close()
    async with opened(f"sqlite:{path}", create=False) as store:
        assert (await store.subscribers.get("alice")).identities == (ALICE,)
        await store.subscribers.add(subscriber("bob"))
        found = await store.subscribers.psk_by_key_id(b"bob")
        assert found is not None
        assert found.key == psk_of("bob")
    async with site(f"sqlite:{path}") as kms:
        assert (await kms.enrol(uri("carol"))).given.identity == uri("carol")


@awaited
async def test_when_a_credential_was_used_last_is_known(store_url: str) -> None:
    clock = Clock()
    async with site(store_url, clock=clock) as kms:
        enrolled = await kms.enrol()
        (event, *_) = await kms.audit()
        assert event.credential == enrolled.given.psk_id.encode().hex()
        await kms.store.maintain()
        assert await kms.store.audit.uses() == {}, "to be enrolled is not a use"
        event = replace(event, exchange=Exchange.REQUEST, time_ns=clock())
        await kms.store.audit.append(event)
        await kms.store.maintain()
        first = (await kms.store.audit.uses())[event.credential]
        assert abs(first - clock.seconds()) <= 1
        clock.advance(100)
        await kms.store.audit.append(replace(event, time_ns=clock()))
        await kms.store.audit.append(replace(event, time_ns=event.time_ns))
        await kms.store.maintain()
        await kms.store.audit.append(replace(event, time_ns=clock()))
    store = await open_store(store_url, MASTER, now_ns=clock)
    try:
        assert (await store.audit.uses())[event.credential] >= first + 100
    finally:
        await store.close()
