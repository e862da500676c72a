"""Tickets for contacts are renewed before they expire, and a KMS that refuses is not asked all the time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.renewal import TicketRenewal
from sipmikey.agent.tickets.store import TicketStore
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.mode import Mode
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.shared_keys import SharedTicketKey
from tests.ticket.parties import ALICE, BOB, CAROL, KMS, Clock, Kms, environment, psk


@dataclass
class World:
    """Alice's store, a KMS, and a clock that moves by what the renewal sleeps."""

    sleeps: int
    refuses: Callable[[str], bool] = lambda called: False
    reuse: bool = True
    mode: Mode = Mode.FULL
    lifetime_s: float = 3600.0
    clock: Clock = field(default_factory=Clock)
    slept: list[float] = field(default_factory=list)
    renewed: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.env = environment(self.clock, "alice")
        self.kms = Kms(environment(self.clock, "kms"))
        tpk = TicketProtectionKey(key=Secret(bytes(32)), key_id=b"shared")
        keys = KeyManagement(
            kms=KMS, psk=psk(ALICE).key, psk_id=ALICE.encode(), reuse=self.reuse, mode=self.mode,
            ticket_keys=tuple(SharedTicketKey(owner=owner, tpk=tpk) for owner in (KMS, BOB)),
            ticket_lifetime_s=self.lifetime_s,
        )  # fmt: skip
        self.store = TicketStore(self.env, keys, ALICE)
        self.start = self.clock.ns

    @property
    def seconds(self) -> int:
        return (self.clock.ns - self.start) // 10**9

    async def renew(self, called: str) -> None:
        self.asked.append(called)
        if self.refuses(called):
            raise AgentError(Reason.KMS_REFUSED, "no", side="kms")
        await self.store.renew(called, self.ask)
        self.renewed.append((called, self.seconds))

    async def ask(self, message: bytes) -> bytes:
        return self.kms.answer(message)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        if len(self.slept) >= self.sleeps:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    def run(self, *contacts: str) -> None:
        async def all_of_it() -> None:
            await TicketRenewal(self.store, contacts, self.renew, self.sleep).run()

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(all_of_it())


def test_each_contact_has_a_ticket_at_once() -> None:
    world = World(sleeps=3)
    world.run(BOB, CAROL)
    assert [called for called, _ in world.renewed] == [BOB, CAROL]
    assert all(world.store.at_hand(called) is not None for called in (BOB, CAROL))


@pytest.mark.parametrize(
    ("mode", "valid_s"),
    [
        (Mode.FULL, 600),
        (Mode.FULL, 3600),
        (Mode.KERBEROS, 600),
        (Mode.OTWAY_REES, 600),
        (Mode.PRESHARED, 600),
    ],
)
def test_a_ticket_is_renewed_when_a_fifth_is_left(
    mode: Mode, valid_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it the KMS that makes the ticket or we."""
    world = World(sleeps=200, mode=mode, lifetime_s=valid_s)
    plain = world.store._request

    def with_end(policy: TicketPolicy) -> object:
        end = Timestamp.ntp_utc(world.clock.ns + valid_s * 10**9)
        start = Timestamp.ntp_utc(world.clock.ns)
        return plain(replace(policy, valid_from=start, valid_until=end))

    monkeypatch.setattr(world.store, "_request", with_end)
    world.run(BOB)
    times = [at for _, at in world.renewed]
    gaps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert gaps, "it was renewed"
    assert all(0.8 * valid_s - 1 <= gap <= 0.8 * valid_s + 2 for gap in gaps)


def test_a_ticket_that_was_used_up_is_had_again() -> None:
    world = World(sleeps=2, reuse=False)
    taken: list[object] = []

    async def sleep(seconds: float) -> None:
        taken.append(world.store.at_hand(BOB))
        await World.sleep(world, seconds)

    async def all_of_it() -> None:
        await TicketRenewal(world.store, (BOB,), world.renew, sleep).run()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(all_of_it())
    assert None not in taken
    assert len(world.renewed) == 2


def test_a_kms_that_refuses_is_asked_less_and_less_and_others_are_served() -> None:
    world = World(sleeps=40, refuses=lambda called: called == BOB)
    world.run(BOB, CAROL)
    assert [called for called, _ in world.renewed] == [CAROL]
    assert 3 <= world.asked.count(BOB) <= 7
    assert all(seconds > 0 for seconds in world.slept)


def test_a_kms_that_comes_back_is_noticed() -> None:
    world = World(sleeps=10)
    world.refuses = lambda called: world.seconds < 100
    world.run(BOB)
    (_, at), *more = world.renewed
    assert 100 <= at <= 300
    assert more == []
