"""The cache of tickets: single flight, reuse where the ticket allows it, expiry."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.store import TicketStore, facts, first_granted
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.testing.kms import TestKms
from sipmikey.ticket.request import TicketGrant
from tests.agent.calls.branches import CALLED, CALLER


def keys_of(kms: TestKms, *, reuse: bool) -> KeyManagement:
    user = kms.user(CALLER)
    kms.user(CALLED)
    psk = Secret(bytes.fromhex(user.psk))
    return KeyManagement(kms=kms.identity, psk=psk, psk_id=user.psk_id.encode(), reuse=reuse)


class Counted:
    """Asks the real KMS, and counts how often."""

    def __init__(self, client: HttpKmsClient) -> None:
        self._client = client
        self.asked = 0

    async def __call__(self, message: bytes) -> bytes:
        self.asked += 1
        return await self._client.request(message)


@pytest.mark.parametrize(("reuse", "requests"), [(True, 1), (False, 4)])
def test_a_ticket_is_reused_exactly_where_it_says_so(reuse: bool, requests: int, kms: TestKms) -> None:
    async def scenario() -> tuple[int, int]:
        store = TicketStore(environment(), keys_of(kms, reuse=reuse), CALLER)
        async with HttpKmsClient(kms.url) as client:
            ask = Counted(client)
            grants = [await store.get(CALLED, ask) for _ in range(4)]
            assert all(grant.policy.flags.reusable is reuse for grant in grants)
            return ask.asked, len({grant.ticket_id for grant in grants})

    assert asyncio.run(scenario()) == (requests, requests)


def test_several_at_once_share_one_request(kms: TestKms) -> None:
    async def scenario() -> int:
        store = TicketStore(environment(), keys_of(kms, reuse=True), CALLER)
        async with HttpKmsClient(kms.url) as client:
            ask = Counted(client)
            await asyncio.gather(*(store.get(CALLED, ask) for _ in range(5)))
            return ask.asked

    assert asyncio.run(scenario()) == 1


def test_a_ticket_that_may_be_used_once_is_given_to_one_call(kms: TestKms) -> None:
    async def scenario() -> set[str]:
        store = TicketStore(environment(), keys_of(kms, reuse=False), CALLER)
        async with HttpKmsClient(kms.url) as client:
            ask = Counted(client)
            await store.prefetch(CALLED, ask)
            grants = await asyncio.gather(*(store.get(CALLED, ask) for _ in range(3)))
            assert ask.asked == 3
            return {grant.ticket_id for grant in grants}

    assert len(asyncio.run(scenario())) == 3


def test_a_ticket_about_to_expire_is_asked_for_again(kms: TestKms) -> None:
    async def scenario() -> int:
        now = [environment().now_ns()]
        env = replace(environment(), now_ns=lambda: now[0])
        store = TicketStore(env, keys_of(kms, reuse=True), CALLER)
        async with HttpKmsClient(kms.url) as client:
            ask = Counted(client)
            grant = await store.get(CALLED, ask)
            end = grant.policy.valid_until
            assert end is not None
            now[0] = end.unix_ns() - 6_000_000_000
            await store.get(CALLED, ask)
            assert ask.asked == 1
            now[0] = end.unix_ns() - 4_000_000_000
            with pytest.raises(PeerError):
                # The KMS, whose clock is right, refuses a request from the future.
                await store.get(CALLED, ask)
            return ask.asked

    assert asyncio.run(scenario()) == 2


def test_a_failure_is_not_kept(kms: TestKms) -> None:
    async def scenario() -> None:
        store = TicketStore(environment(), keys_of(kms, reuse=True), CALLER)

        async def broken(message: bytes) -> bytes:
            raise PeerError("no KMS today")

        with pytest.raises(PeerError):
            await store.get(CALLED, broken)
        async with HttpKmsClient(kms.url) as client:
            await store.get(CALLED, client.request)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reason", "asked"),
    [
        (Reason.KMS_REFUSED, ["sip:phone@example.net", CALLED]),
        (Reason.NOT_AUTHORIZED, ["sip:phone@example.net", CALLED]),
        (Reason.KMS_UNREACHABLE, ["sip:phone@example.net"]),
        (Reason.AUTH_FAILURE, ["sip:phone@example.net"]),
    ],
)
def test_only_a_refusal_lets_another_ticket_do(reason: Reason, asked: list[str], kms: TestKms) -> None:
    async def scenario() -> list[str]:
        store = TicketStore(environment(), keys_of(kms, reuse=True), CALLER)
        seen = []
        async with HttpKmsClient(kms.url) as client:

            async def get(called: str) -> TicketGrant:
                seen.append(called)
                if called != CALLED:
                    raise AgentError(reason, "no ticket for this one")
                return await store.get(called, client.request)

            with contextlib.nullcontext() if len(asked) > 1 else pytest.raises(AgentError):
                called, grant = await first_granted(("sip:phone@example.net", CALLED), get)
                assert called == CALLED
                assert grant.policy.responders == (CALLED,)
        return seen

    assert asyncio.run(scenario()) == asked


def test_what_is_shown_of_a_ticket_holds_no_key(kms: TestKms) -> None:
    async def scenario() -> None:
        store = TicketStore(environment(), keys_of(kms, reuse=True), CALLER)
        async with HttpKmsClient(kms.url) as client:
            grant = await store.get(CALLED, client.request)
        shown = repr(facts(grant)).encode()
        for secret in (grant.mpk_i, grant.mpk_r, *(key.key for key in grant.keys)):
            assert secret is not None
            assert secret.reveal() not in shown
            assert secret.reveal().hex().encode() not in shown
        assert facts(grant).responders == (CALLED,)

    asyncio.run(scenario())
