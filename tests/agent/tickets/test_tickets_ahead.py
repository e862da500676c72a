"""Ticket Transfer without a call: the callee resolves a ticket ahead, and what must not pass does not."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.ahead import TicketsAhead
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.agent.tickets.resolved_tickets import ResolvedTickets
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import InvalidTicketPolicy
from sipmikey.mikey.secret import Secret
from sipmikey.ticket import TicketGrant
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.mode import Mode, flags_for
from sipmikey.ticket.request import make_ticket
from sipmikey.ticket.shared_keys import SharedTicketKey
from tests.ticket.parties import (
    ALICE,
    BOB,
    CAROL,
    KMS,
    Clock,
    Kms,
    environment,
    policy,
    psk,
    request_ticket,
    start_transfer,
)

SHARED = SharedTicketKey(owner=ALICE, tpk=TicketProtectionKey(key=Secret(bytes(range(32)))))


@dataclass
class World:
    """Alice, bob and the KMS. ``sent``: what went over SIP, as (to whom, text)."""

    takes: bool = True
    allowed: bool = True
    clock: Clock = field(default_factory=Clock)
    sent: list[tuple[str, str]] = field(default_factory=list)
    asked: int = 0
    sip_caller: str = ALICE

    def __post_init__(self) -> None:
        self.kms = Kms(environment(self.clock, "kms"))
        self.resolved = ResolvedTickets(environment(self.clock, "kept"))
        self.alice = self.side(ALICE, None)
        self.bob = self.side(BOB, self.resolved if self.takes else None)
        self._under_way: set[asyncio.Task[None]] = set()

    def side(self, identity: str, resolved: ResolvedTickets | None) -> TicketsAhead:
        desk = KmsDesk(self, home=KMS, timeout_s=1.0, publish=lambda event: None)
        keys = KeyManagement(kms=KMS, psk=psk(identity).key, psk_id=identity.encode(), ticket_keys=(SHARED,))
        us = Correspondent(
            env=environment(self.clock, identity), keys=keys, identity=identity, kms=desk, send=self.carry,
            answer_s=0.2,
        )  # fmt: skip
        return TicketsAhead(us, resolved=resolved, allowed=lambda caller: self.allowed)

    async def request(self, message: bytes, *, kms: str | None = None) -> bytes:
        self.asked += 1
        return self.kms.answer(message)

    def carry(self, to: str, text: str) -> None:
        self.sent.append((to, text))
        work = (
            self.bob.take(self.sip_caller, text.encode())
            if to == BOB
            else self.alice.take(BOB, text.encode())
        )
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def grant(self, mode: Mode = Mode.FULL, *, forking: bool = True, reuse: bool = True) -> TicketGrant:
        wanted = policy(flags=flags_for(mode, key_forking=forking, reuse=reuse))
        if mode.made_by_kms:
            return request_ticket(environment(self.clock, "a"), self.kms, wanted)
        return make_ticket(environment(self.clock, "a"), wanted, SHARED.tpk)

    def push(self, grant: TicketGrant) -> str:
        return asyncio.run(self.alice.push(BOB, grant))


@pytest.mark.parametrize("forking", [True, False], ids=["key forking", "no key forking"])
def test_bob_resolves_ahead_and_alice_knows(forking: bool) -> None:
    world = World()
    grant = world.grant(forking=forking)
    asked = world.asked
    assert world.push(grant) == BOB
    assert world.asked == asked + 1
    assert world.resolved.get(grant.ticket_id) is not None
    assert world.push(grant) == BOB
    assert world.asked == asked + 1


def test_a_ticket_that_bob_opens_himself_needs_no_kms() -> None:
    world = World()
    assert world.push(world.grant(Mode.PRESHARED)) == BOB
    assert world.asked == 0


def test_a_ticket_for_one_call_is_not_sent_ahead() -> None:
    world = World()
    grant = world.grant(reuse=False)
    with pytest.raises(InvalidTicketPolicy, match="J is 0"):
        world.push(grant)
    assert world.sent == []


def nobody_resolves(world: World, push: Coroutine[None, None, str] | None = None) -> None:
    asked = world.asked
    with pytest.raises(AgentError) as refused:
        asyncio.run(push or world.alice.push(BOB, world.grant()))
    assert refused.value.reason is Reason.NO_ANSWER
    assert world.asked <= asked + 1  # alice's own request
    assert [to for to, _ in world.sent] == [BOB]


def test_who_keeps_no_resolved_tickets_does_not_ask_the_kms() -> None:
    nobody_resolves(World(takes=False))


def test_policy_says_whose_tickets_are_taken() -> None:
    nobody_resolves(World(allowed=False))


def test_a_ticket_of_somebody_else_than_the_sender_is_not_resolved() -> None:
    nobody_resolves(World(sip_caller=CAROL))


def test_the_offer_of_a_call_is_not_answered_without_one() -> None:
    world = World()
    call = start_transfer(environment(world.clock, "t"), world.grant())
    asked = world.asked
    asyncio.run(world.bob.take(ALICE, b64encode(call.message)))
    assert world.asked == asked
    assert world.sent == []


def test_a_repeated_message_is_answered_once() -> None:
    world = World()
    world.push(world.grant())
    (_, message), _ = world.sent
    asyncio.run(world.bob.take(ALICE, message.encode()))
    assert len(world.sent) == 2


def test_senders_are_held_to_a_rate() -> None:
    world = World()
    grant = world.grant()
    for _ in range(20):
        assert world.push(grant) == BOB
    with pytest.raises(AgentError):
        world.push(grant)


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA", b64encode(bytes(64)).decode()])
def test_what_is_no_mikey_message_goes_nowhere(text: str) -> None:
    world = World()
    asyncio.run(world.bob.take(ALICE, text.encode()))
    assert world.sent == []


def test_an_altered_answer_proves_nothing() -> None:
    world = World()
    carry = world.carry

    def alter(to: str, text: str) -> None:
        octets = bytearray(b64decode(text))
        octets[-1] ^= to == ALICE
        carry(to, b64encode(octets).decode())

    world.bob._us = replace(world.bob._us, send=alter)
    with pytest.raises(AgentError):
        world.push(world.grant())
    assert [to for to, _ in world.sent] == [BOB, ALICE]
