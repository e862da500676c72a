"""A message from one domain to another: the addressee's KMS passes the ticket on to the sender's."""

from __future__ import annotations

import asyncio

from sipmikey.agent.config import KeyManagement
from sipmikey.kms.audit import Exchange
from sipmikey.kms.service import Outcome
from sipmikey.mailbox.delivery import Delivery
from sipmikey.media.g711 import PCMA
from tests.deferred.parties import FRAMES, HOUR
from tests.kms.domain import psk_of, uri
from tests.kms.test_forwarding import BOB, KMS_A, KMS_B, Pair
from tests.kms.test_forwarding import pair as pair


class Desk:
    """What the HTTP servers of the two KMSs do for one user."""

    def __init__(self, pair: Pair, identity: str) -> None:
        self._pair = pair
        self._service = (pair.a if identity == KMS_A else pair.b).service

    async def request(self, message: bytes, *, kms: str | None = None) -> bytes:
        outcome: Outcome = await self._service.handle(message, expected=Exchange.UNKNOWN, source="192.0.2.1")
        if (forward := outcome.forward) is not None:
            there = await self._pair.a.service.handle(
                forward.message, expected=Exchange.UNKNOWN, source="192.0.2.1"
            )
            outcome = await self._pair.b.service.forwarded(forward, there.body or b"")
        assert outcome.granted, outcome.event.detail
        assert outcome.body is not None
        return outcome.body


def keys(name: str, kms: str) -> KeyManagement:
    return KeyManagement(kms=kms, psk=psk_of(name), psk_id=name.encode())


def test_bob_of_another_domain_hears_what_alice_left(pair: Pair) -> None:
    alice = Delivery(pair.a.env, keys("alice", KMS_A), Desk(pair, KMS_A), uri("alice"))
    bob = Delivery(pair.b.env, keys("bob", KMS_B), Desk(pair, KMS_B), BOB)

    async def left_and_heard() -> None:
        sealed = await alice.seal(BOB, FRAMES, PCMA, valid_s=HOUR)
        pair.a.clock.advance(HOUR / 2)
        opened, facts = await bob.open(sealed.deposit.encode())
        assert opened.frames == FRAMES
        assert (opened.sender, facts.kms) == (uri("alice"), KMS_A)

    asyncio.run(left_and_heard())
