"""An invitation is redeemed once, by who has its code, and by nobody else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmikey.kms.audit import Decision
from sipmikey.kms.enrolment import device
from sipmikey.kms.enrolment.codes import Code, new_code
from sipmikey.kms.enrolment.documents import Act, Ask, BadEnrolment, EnrolmentGrant, Envelope, decode_answer
from sipmikey.kms.enrolment.records import MAX_TRIES
from sipmikey.kms.server.enrolment import AddressFailures
from sipmikey.mikey.errors import AuthenticationFailure
from sipmikey.mikey.secret import Secret
from sipmikey.rate_limit import RateLimiter
from tests.kms.domain import KMS, uri
from tests.kms.enrolment.site import ALICE, PROFILE, site
from tests.kms.test_stores import awaited


def wrong(code: Code) -> Code:
    """The same invitation, with another secret."""
    return Code(number=code.number, secret=new_code(os.urandom).secret)


@awaited
async def test_a_code_gives_a_device_its_key_and_profile(store_url: str) -> None:
    async with site(store_url) as kms:
        code = await kms.invite(credentials__password="of the registrar")
        question = device.redeem(code, name="laptop", random=os.urandom)
        reply = await kms.post(question.body)
        received = question.receive(reply.body)
        told = received.given
        assert (told.identity, told.kms_identity, told.profile) == (ALICE, KMS, PROFILE)
        assert told.secrets == {"credentials.password": Secret(b"of the registrar")}
        assert told.psk_id == f"{told.device}.1"
        found = await kms.store.subscribers.psk_by_key_id(told.psk_id.encode())
        assert found is not None
        assert found.key == received.psk
        assert found.principal.identities == (ALICE,)
        assert found.valid_until_s == told.valid_until_s == kms.clock.seconds() + 90 * 86_400
        (record,) = await kms.store.devices.devices(ALICE)
        assert (record.device, record.name, record.key) == (told.device, "laptop", received.device_key)
        (event,) = await kms.audit()
        assert (event.rule, event.decision, event.subscriber) == ("redeem", Decision.GRANTED, ALICE)
        assert event.credential == told.psk_id.encode().hex()


@awaited
async def test_neither_code_nor_key_is_in_a_message_the_audit_log_or_the_store(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/kms.sqlite") as kms:
        code = await kms.invite(credentials__password="of the registrar")
        question = device.redeem(code, name="laptop", random=os.urandom)
        received = question.receive((await kms.post(question.body)).body)
        secret = code.secret.reveal()
        hidden = [secret, code.key().reveal(), received.psk.reveal(), received.device_key.reveal()]
        hidden += [b"of the registrar", b"laptop"]
        carried = [base64.b64decode(json.loads(body)["message"]) for body in kms.sent]
        said = [*kms.sent, *carried, repr(await kms.audit()).replace("(laptop)", "").encode()]
        files = [path.read_bytes() for path in tmp_path.iterdir()]
        for octets in hidden:
            for text in (octets, octets.hex().encode(), base64.b64encode(octets)):
                assert not any(text in each for each in said)
                assert octets == b"laptop" or not any(text in each for each in files)


@awaited
async def test_every_code_that_is_not_valid_is_refused_in_the_same_words(store_url: str) -> None:
    async with site(store_url) as kms:
        never = new_code(os.urandom)
        mistyped = wrong(await kms.invite())
        expired = await kms.invite(minutes=1)
        back = await kms.invite()
        assert await kms.store.devices.revoke_invitation(back.number)
        used = await kms.invite()
        assert (await kms.redeem(used)).status == 200
        disabled = await kms.invite(uri("bob"))
        await kms.store.subscribers.set_enabled(uri("bob"), False)
        kms.clock.advance(61)
        told = []
        for code in (never, mistyped, expired, back, used, disabled):
            reply = await kms.redeem(code)
            told.append((reply.status, reply.reason, reply.body, reply.detail))
        assert len(set(told)) == 1
        assert told[0][:3] == (403, "code-not-valid", b"")
        assert [event.detail for event in (await kms.audit())[1:]] == [
            "there is no invitation of this number",
            "the code is wrong, try 1",
            "it has expired",
            "it was taken back",
            "it was used already",
            "the subscriber is disabled",
        ]
        assert len(await kms.store.devices.devices()) == 1


@awaited
async def test_a_code_is_over_after_a_few_tries(store_url: str) -> None:
    async with site(store_url) as kms:
        code = await kms.invite()
        for number in range(MAX_TRIES):
            assert (await kms.redeem(wrong(code), source=f"192.0.2.{number}")).status == 403
        assert (await kms.redeem(code)).status == 403, "the right code comes too late"
        code = await kms.invite()
        for _ in range(MAX_TRIES - 1):
            await kms.redeem(wrong(code))
        assert (await kms.redeem(code)).status == 200, "and here it is among the tries that are allowed"


@awaited
async def test_tries_at_the_same_time_all_count(store_url: str) -> None:
    async with site(store_url) as kms:
        code = await kms.invite()
        guesses = [device.redeem(wrong(code), name="", random=os.urandom).body for _ in range(8)]
        replies = await asyncio.gather(*(kms.desk.handle(guess) for guess in guesses))
        assert {reply.reason for reply in replies} == {"code-not-valid"}
        (record,) = await kms.store.devices.invitations()
        assert record.tries == MAX_TRIES + 1
        assert (await kms.redeem(code)).status == 403


@awaited
async def test_two_at_once_on_one_code_make_one_device(store_url: str) -> None:
    """Two workers of one KMS, and both have the code."""
    async with site(store_url) as one, site(store_url, clock=one.clock) as two:
        for _ in range(2):
            code = await one.invite()
            bodies = [device.redeem(code, name=name, random=os.urandom).body for name in "ab"]
            replies = await asyncio.gather(
                *(kms.desk.handle(body) for kms, body in zip((one, two), bodies, strict=True))
            )
            assert sorted(reply.status for reply in replies) == [200, 403]
        assert len(await one.store.devices.devices(ALICE)) == 2
        record = await one.store.subscribers.get(ALICE)
        assert len(record.psks) == 2


@awaited
async def test_an_answer_that_was_lost_is_given_again_and_only_to_the_same_message(store_url: str) -> None:
    async with site(store_url) as kms:
        code = await kms.invite()
        question = device.redeem(code, name="laptop", random=os.urandom)
        first, again = await kms.post(question.body), await kms.post(question.body)
        assert first == again
        assert question.receive(again.body).given.device
        assert (await kms.redeem(code)).status == 403
        assert len(await kms.store.devices.devices()) == 1
        kms.clock.advance(601)
        assert (await kms.post(question.body)).status == 403


@awaited
async def test_a_source_that_guesses_has_to_wait_and_others_do_not(tmp_path: Path) -> None:
    now = [0.0]
    failures = AddressFailures(RateLimiter(per_second=1 / 60, burst=10, now=lambda: now[0]))
    async with site(f"sqlite:{tmp_path}/kms.sqlite", failures=failures) as kms:
        for _ in range(10):
            assert (await kms.redeem(new_code(os.urandom))).status == 403
        code = await kms.invite()
        reply = await kms.redeem(code)
        assert (reply.status, reply.reason) == (429, "too-many-failures")
        assert reply.retry_after_s == pytest.approx(60)
        assert (await kms.redeem(code, source="192.0.2.2")).status == 200, "and the try was not counted"
        now[0] += 61
        assert (await kms.redeem(new_code(os.urandom))).status == 403
        for _ in range(12):
            assert (await kms.redeem(await kms.invite(), source="192.0.2.3")).status == 200


@awaited
async def test_who_answers_in_place_of_the_kms_is_found_out(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/a.sqlite") as kms, site(f"sqlite:{tmp_path}/b.sqlite") as other:
        code = await kms.invite()
        question = device.redeem(code, name="laptop", random=os.urandom)
        elsewhere = await other.enrol(uri("mallory"))
        assert elsewhere
        with pytest.raises(AuthenticationFailure):
            question.receive(other.sent[-1])
        reply = await kms.post(question.body)
        fields = json.loads(reply.body)
        octets = bytearray(base64.b64decode(fields["message"]))
        octets[-1] ^= 1
        fields["message"] = base64.b64encode(octets).decode()
        with pytest.raises(AuthenticationFailure):
            device.redeem(code, name="laptop", random=os.urandom).receive(json.dumps(fields).encode())
        with pytest.raises(BadEnrolment):
            question.receive(b"<html>welcome to the hotel</html>")


JSON = st.dictionaries(
    st.sampled_from(
        ["version", "invitation", "device", "message", "act", "name", "csr", "time_s", "profile", "more"]
    ),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=70)
        | st.sampled_from([*Act, "0000"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
        max_leaves=6,
    ),
).map(lambda fields: json.dumps(fields).encode())


@settings(deadline=None)
@given(octets=JSON | st.binary(max_size=90))
def test_whatever_comes_is_read_or_refused_with_a_word(octets: bytes) -> None:
    for read in (Envelope.decode, Ask.decode, EnrolmentGrant.decode, decode_answer):
        with suppress(BadEnrolment):
            read(octets)


@awaited
async def test_what_is_not_a_request_costs_the_invitation_nothing(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/kms.sqlite") as kms:
        code = await kms.invite()
        for body in (
            b"",
            b"[]",
            b'{"version": 2}',
            b'{"version": 1, "invitation": "' + code.number.encode() + b'"}',
        ):
            assert (await kms.post(body)).reason == "malformed-enrolment"
        (record,) = await kms.store.devices.invitations()
        assert record.tries == 0


@awaited
async def test_an_invitation_does_nothing_but_enrol(tmp_path: Path) -> None:
    async with site(f"sqlite:{tmp_path}/kms.sqlite") as kms:
        code = await kms.invite()
        ask = Ask(act=Act.RENEW, time_s=kms.clock.seconds())
        question = device.Question(code.key(), ask, invitation=code.number, random=os.urandom)
        assert (await kms.post(question.body)).reason == "malformed-enrolment"
        assert (await kms.redeem(code)).status == 200


@awaited
async def test_a_number_in_use_is_not_given_twice(store_url: str) -> None:
    async with site(store_url) as kms:
        await kms.invite()
        (record,) = await kms.store.devices.invitations()
        assert not await kms.store.devices.invite([record])
