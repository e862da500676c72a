"""A KMS that enrols devices, on a store of each kind, with a clock that the test sets."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sipmikey.kms.audit import AuditEvent, AuditQuery
from sipmikey.kms.enrolment import device
from sipmikey.kms.enrolment.codes import Code, new_code
from sipmikey.kms.enrolment.desk import EnrolmentDesk, EnrolmentSettings, Failures, Reply
from sipmikey.kms.enrolment.device import EnrolmentResult, Question
from sipmikey.kms.enrolment.documents import Act, Ask
from sipmikey.kms.enrolment.profile import Profile
from sipmikey.kms.enrolment.records import InvitationRecord
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import SubscriberRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from tests.kms.domain import KMS, Clock, environment, uri

MASTER = Secret(bytes(range(32)))
ALICE = uri("alice")
PROFILE = Profile(
    settings={
        "sip": {"registrar": "sip:example.com"},
        "kms": {"identity": KMS, "url": "https://kms.example.com"},
    },
    files={"kms.ca_file": "-----BEGIN CERTIFICATE-----\n"},
)
MINUTE = 60


@dataclass(slots=True)
class Site:
    """``store`` and ``desk`` of the KMS; ``sent`` is everything that went over the network."""

    clock: Clock
    store: Store
    desk: EnrolmentDesk
    sent: list[bytes]

    async def invite(self, identity: str = ALICE, *, minutes: float = 15, **secrets: str) -> Code:
        code = new_code(os.urandom)
        with suppress(LocalError):  # there already
            await self.store.subscribers.add(SubscriberRecord(name=identity, identities=(identity,)))
        now_s = self.clock.seconds()
        record = InvitationRecord(
            number=code.number,
            subscriber=identity,
            identity=identity,
            key=code.key(),
            created_s=now_s,
            expires_s=now_s + round(minutes * MINUTE),
            secrets={name.replace("__", "."): Secret(text.encode()) for name, text in secrets.items()},
        )
        assert await self.store.devices.invite([record])
        return code

    async def post(self, body: bytes, *, source: str = "192.0.2.1") -> Reply:
        self.sent.append(body)
        reply = await self.desk.handle(body, source=source)
        self.sent.append(reply.body)
        return reply

    async def redeem(self, code: Code, *, name: str = "laptop", csr: bytes = b"", **more: str) -> Reply:
        return await self.post(device.redeem(code, name=name, random=os.urandom, csr=csr).body, **more)

    async def enrol(self, identity: str = ALICE, *, csr: bytes = b"") -> EnrolmentResult:
        """Invite, redeem, and return what the device has."""
        question = device.redeem(await self.invite(identity), name="laptop", random=os.urandom, csr=csr)
        reply = await self.post(question.body)
        assert reply.status == 200, reply
        return question.receive(reply.body)

    def question(self, enrolled: EnrolmentResult, act: Act, *, version: str = "", off_s: int = 0) -> Question:
        ask = Ask(act=act, time_s=self.clock.seconds() + off_s, version=version)
        return device.ask(enrolled.given.device, enrolled.device_key, ask, random=os.urandom)

    async def ask(self, enrolled: EnrolmentResult, act: Act, **options: object) -> EnrolmentResult:
        question = self.question(enrolled, act, **options)  # type: ignore[arg-type]
        reply = await self.post(question.body)
        assert reply.status == 200, reply
        return question.receive(reply.body)

    async def audit(self) -> list[AuditEvent]:
        return list(await self.store.audit.query(AuditQuery(oldest_first=True)))


@asynccontextmanager
async def site(
    url: str,
    *,
    failures: Failures | None = None,
    clock: Clock | None = None,
    settings: EnrolmentSettings | None = None,
) -> AsyncIterator[Site]:
    clock = clock or Clock()
    store = await open_store(url, MASTER, now_ns=clock, create=True)
    settings = settings or EnrolmentSettings(kms_identity=KMS, profile=PROFILE)
    desk = EnrolmentDesk(
        environment(clock), settings, store.devices, audit=store.audit, replay=store.replay, failures=failures
    )
    try:
        yield Site(clock, store, desk, [])
    finally:
        await store.close()


def message(body: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(body)
    return found
