"""A grant that cannot be used ends the call: the KMS is not asked again and again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.store import TicketStore
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.system import environment
from sipmikey.ticket import KmsInit, RequestAtKms
from tests.sdp.parties import ALICE, BOB, KMS, Kms, credential

_NS = 1_000_000_000


class ShortLived(Kms):
    """Grants tickets that are valid from *starts_s* to *ends_s* seconds from now."""

    starts_s = 0.0
    ends_s = 3600.0

    def request(self, message: bytes) -> bytes:
        self.asked.append(message)
        init = RequestAtKms(
            self.env, KmsInit(self.env, message).verify_psk(credential(ALICE), owner=ALICE, kms=KMS)
        )
        now = self.env.now_ns()
        policy = replace(
            init.policy,
            valid_from=Timestamp.ntp_utc(now + int(self.starts_s * _NS)),
            valid_until=Timestamp.ntp_utc(now + int(self.ends_s * _NS)),
        )
        return init.grant(policy, self.tpk, kms=KMS)[0]


def store_of(kms: Kms) -> TicketStore:
    key = credential(ALICE)
    keys = KeyManagement(kms=KMS, psk=key.key, psk_id=key.key_id, reuse=False)
    return TicketStore(kms.env, keys, ALICE)


async def ask(kms: Kms, message: bytes) -> bytes:
    await asyncio.sleep(0)
    return kms.request(message)


@pytest.mark.parametrize(
    ("starts_s", "ends_s", "said"),
    [
        (-60, -30, "expired 30 s ago by the clock of this machine"),
        (0, 3, "ends in 3.0 s, and a call needs 5 s"),
        (60, 120, "becomes valid in 60 s"),
    ],
)
def test_the_kms_is_asked_once_and_it_is_to_blame(starts_s: float, ends_s: float, said: str) -> None:
    kms = ShortLived(environment())
    kms.starts_s, kms.ends_s = starts_s, ends_s
    store = store_of(kms)
    with pytest.raises(AgentError, match=said) as caught:
        asyncio.run(asyncio.wait_for(store.get(BOB, lambda message: ask(kms, message)), 10))
    assert (caught.value.reason, caught.value.side) == (Reason.TICKET_EXPIRED, "kms")
    assert "max_validity_s" in str(caught.value)
    assert len(kms.asked) == 1


def test_several_calls_at_once_ask_once_more_each_at_most() -> None:
    kms = ShortLived(environment())
    store = store_of(kms)

    async def calls() -> set[str]:
        grants = await asyncio.gather(*(store.get(BOB, lambda message: ask(kms, message)) for _ in range(5)))
        return {grant.ticket_id for grant in grants}

    assert len(asyncio.run(asyncio.wait_for(calls(), 10))) == 5
    assert len(kms.asked) <= 6


def test_a_good_ticket_is_kept_and_asked_for_once() -> None:
    kms = ShortLived(environment())
    store = store_of(kms)

    async def both() -> None:
        kept = await store.prefetch(BOB, lambda message: ask(kms, message))
        assert await store.get(BOB, lambda message: ask(kms, message)) is kept

    asyncio.run(both())
    assert len(kms.asked) == 1
