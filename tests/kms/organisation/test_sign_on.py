"""Sign-on at the KMS's desk, with a provider that says what the test wants."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.kms.enrolment.claims import IdentityRule
from sipmikey.kms.enrolment.desk import Failures, Reply
from sipmikey.kms.enrolment.device import SignOn
from sipmikey.kms.enrolment.id_token import IdTokenRefused
from sipmikey.kms.enrolment.sign_on import (
    Grant,
    NotYet,
    ProviderUnavailable,
    SignOnDenied,
    SignOnDesk,
    SignOnExpired,
    SignOnSettings,
)
from sipmikey.kms.enrolment.sign_on_documents import State
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.mikey.errors import AuthenticationFailure, PeerError
from sipmikey.mikey.secret import Secret
from tests.kms.domain import KMS, Clock, environment, uri
from tests.kms.enrolment.site import ALICE, Site, site

ISSUER = "https://id.example.com"


@dataclass(slots=True)
class Scripted:
    """Answers each poll by what is next in ``says``."""

    says: list[Mapping[str, Any] | NotYet | PeerError] = field(default_factory=list)
    polled: list[tuple[str, str]] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)

    async def begin(self, *, nonce: str) -> Grant:
        self.nonces.append(nonce)
        return Grant(
            device_code=Secret(f"device code {len(self.nonces)}".encode()),
            user_code="WDJB-MJHT",
            verification_uri=f"{ISSUER}/device",
            interval_s=5,
        )

    async def poll(self, device_code: Secret, *, nonce: str, interval_s: int) -> Mapping[str, Any] | NotYet:
        self.polled.append((device_code.reveal().decode(), nonce))
        said = self.says.pop(0)
        if isinstance(said, PeerError):
            raise said
        return said


@dataclass(slots=True)
class Organisation:
    site: Site
    desk: SignOnDesk
    provider: Scripted

    async def begin(self) -> SignOn:
        sign_on = SignOn(name="laptop", random=os.urandom)
        reply = await self.desk.handle(sign_on.body, source="192.0.2.1")
        assert reply.status == 200, reply
        begun = sign_on.receive(reply.body)
        assert (begun.user_code, begun.interval_s) == ("WDJB-MJHT", 5)
        return sign_on

    async def poll(self, sign_on: SignOn) -> Reply:
        return await self.desk.handle(sign_on.poll, source="192.0.2.1")


@asynccontextmanager
async def organisation(
    url: str,
    *says: Any,
    add_users: bool = False,
    starts: Failures | None = None,
    polls: Failures | None = None,
) -> AsyncIterator[Organisation]:
    async with site(url) as enrolment:
        await enrolment.store.subscribers.add(SubscriberRecord(name=ALICE, identities=(ALICE,)))
        provider = Scripted(list(says))
        settings = SignOnSettings(
            issuer=ISSUER, kms_identity=KMS, add_users=add_users,
            rule=IdentityRule(claim="name", identity="sip:{}@example.com"),
        )  # fmt: skip
        desk = SignOnDesk(
            environment(enrolment.clock), settings, provider, enrolment.store.devices,
            audit=enrolment.store.audit, starts=starts, polls=polls,
        )  # fmt: skip
        yield Organisation(enrolment, desk, provider)


def person(name: str) -> dict[str, str]:
    return {"sub": f"number of {name}", "name": name}


def test_a_person_who_agrees_has_a_device(store_url: str) -> None:
    async def story() -> None:
        async with organisation(store_url, NotYet(5), NotYet(10), person("alice")) as org:
            sign_on = await org.begin()
            assert State.decode((await org.poll(sign_on)).body) == State(interval_s=5)
            assert State.decode((await org.poll(sign_on)).body) == State(interval_s=10)
            state = State.decode((await org.poll(sign_on)).body)
            question = sign_on.redeem(state.invitation)
            reply = await org.site.post(question.body)
            given = question.receive(reply.body)
            assert (given.given.identity, len(given.psk)) == (ALICE, 32)
            assert org.provider.polled == [("device code 1", org.provider.nonces[0])] * 3
            acts = [(event.rule, event.decision, event.subscriber) for event in await org.site.audit()]
            assert acts == [
                ("sign-on", "granted", ""), ("sign-on", "granted", ALICE), ("redeem", "granted", ALICE),
            ]  # fmt: skip
            assert "number of alice of https://id.example.com" in (await org.site.audit())[1].detail

    asyncio.run(story())


def test_an_answer_that_was_lost_comes_again_and_the_provider_is_not_asked(store_url: str) -> None:
    async def story() -> None:
        async with organisation(store_url, person("alice")) as org:
            sign_on = await org.begin()
            first = await org.poll(sign_on)
            assert (await org.poll(sign_on)).body == first.body
            assert len(org.provider.polled) == 1
            number = State.decode(first.body).invitation
            assert (await org.site.post(sign_on.redeem(number).body)).status == 200
            # Once it is used there is nothing more to be had of it.
            org.provider.says.append(SignOnExpired("used"))
            assert (await org.poll(sign_on)).reason == "sign-on-expired"

    asyncio.run(story())


def test_another_device_cannot_redeem_what_one_has_begun(tmp_path: Any) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite", person("alice")) as org:
            mine, theirs = await org.begin(), await org.begin()
            number = State.decode((await org.poll(mine)).body).invitation
            # They know the number, and even the session: not the key that only the two sides have.
            reply = await org.site.post(theirs.redeem(number).body)
            assert (reply.status, reply.reason) == (403, "code-not-valid")
            assert (await org.site.post(mine.redeem(number).body)).status == 200

    asyncio.run(story())


@pytest.mark.parametrize(
    ("says", "reason", "detail"),
    [
        (SignOnDenied("no"), "sign-on-denied", "no"),
        (SignOnExpired("late"), "sign-on-expired", "late"),
        (IdTokenRefused("for another client"), "id-token-refused", "for another client"),
        (ProviderUnavailable("gone"), "provider-unavailable", "gone"),
        (person("bob"), "sign-on-not-allowed", "nobody here has this identity"),
        (person("alice@evil.example"), "sign-on-not-allowed", "cannot be a part of an identity"),
        (person("*"), "sign-on-not-allowed", "cannot be a part of an identity"),
        ({"sub": "1"}, "sign-on-not-allowed", "no text name"),
    ],
)
def test_refusals_are_in_the_audit_log_with_their_cause(
    tmp_path: Any, says: Any, reason: str, detail: str
) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite", says) as org:
            reply = await org.poll(await org.begin())
            assert reply.reason == reason
            event = (await org.site.audit())[-1]
            assert (event.decision, event.reason) == ("refused", reason)
            assert detail in event.detail
            assert await org.site.store.devices.invitations() == []

    asyncio.run(story())


def test_a_disabled_subscriber_signs_on_in_vain(tmp_path: Any) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite", person("alice")) as org:
            await org.site.store.subscribers.set_enabled(ALICE, False)
            reply = await org.poll(await org.begin())
            assert (reply.status, reply.reason) == (403, "sign-on-not-allowed")
            assert "disabled" not in reply.detail

    asyncio.run(story())


def test_a_newcomer_is_added_where_that_is_set(store_url: str) -> None:
    async def story() -> None:
        async with organisation(store_url, person("zoe"), person("zoe"), add_users=True) as org:
            for _ in range(2):
                sign_on = await org.begin()
                number = State.decode((await org.poll(sign_on)).body).invitation
                assert (await org.site.post(sign_on.redeem(number).body)).status == 200
            assert len(await org.site.store.devices.devices(uri("zoe"))) == 2

    asyncio.run(story())


def test_a_session_ends_and_so_does_what_it_became(tmp_path: Any) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite", person("alice")) as org:
            late, mine = await org.begin(), await org.begin()
            number = State.decode((await org.poll(mine)).body).invitation
            org.site.clock.advance(121)
            assert (await org.site.post(mine.redeem(number).body)).reason == "code-not-valid"
            org.site.clock.advance(480)
            assert (await org.poll(late)).reason == "sign-on-expired"
            assert len(org.provider.polled) == 1

    asyncio.run(story())


class Never:
    """Lets nobody through."""

    def wait(self, source: str) -> float | None:
        return 30.0

    def failed(self, source: str) -> None:
        raise AssertionError


def test_who_begins_or_asks_too_often_waits(tmp_path: Any) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite", starts=Never()) as org:
            reply = await org.desk.handle(SignOn(name="x", random=os.urandom).body)
            assert (reply.status, reply.retry_after_s) == (429, 30.0)
        async with organisation(f"sqlite:{tmp_path}/kms2.sqlite", polls=Never()) as org:
            assert State.decode((await org.poll(await org.begin())).body) == State(interval_s=5)
            assert org.provider.polled == []

    asyncio.run(story())


def test_a_session_is_opaque_and_of_one_kms(tmp_path: Any) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite") as org:
            sign_on = await org.begin()
            session = base64.b64decode(json.loads(sign_on.poll)["session"])
            assert b"device code" not in session
            for place in (0, 5, 20, len(session) - 1):
                altered = bytearray(session)
                altered[place] ^= 1
                body = json.dumps({"version": 1, "session": base64.b64encode(altered).decode()})
                reply = await org.desk.handle(body.encode())
                assert (reply.status, reply.reason) == (400, "malformed-enrolment")
            assert org.provider.polled == []

    asyncio.run(story())


def test_an_answer_that_was_altered_is_not_taken(tmp_path: Any) -> None:
    async def story() -> None:
        async with organisation(f"sqlite:{tmp_path}/kms.sqlite", person("alice")) as org:
            sign_on = await org.begin()
            number = State.decode((await org.poll(sign_on)).body).invitation
            question = sign_on.redeem(number)
            body = json.loads((await org.site.post(question.body)).body)
            message = bytearray(base64.b64decode(body["message"]))
            message[-1] ^= 1
            body["message"] = base64.b64encode(message).decode()
            with pytest.raises(AuthenticationFailure):
                question.receive(json.dumps(body).encode())

    asyncio.run(story())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.dictionaries(st.sampled_from(["version", "message", "session", "x"]), JSON, max_size=4)


class Nothing:
    """A store that has nothing to open."""

    def open_session(self, sealed: bytes) -> Secret | None:
        return None


@given(st.binary(max_size=100) | MEMBERS.map(lambda fields: json.dumps(fields).encode()))
def test_whatever_is_sent_has_an_answer(body: bytes) -> None:
    async def story() -> None:
        settings = SignOnSettings(
            issuer=ISSUER, kms_identity=KMS, rule=IdentityRule(claim="name", identity="sip:{}@example.com")
        )
        desk = SignOnDesk(
            environment(Clock()), settings, Scripted(), cast(Any, Nothing()), audit=cast(Any, None)
        )
        assert (await desk.handle(body)).status == 400

    asyncio.run(story())
