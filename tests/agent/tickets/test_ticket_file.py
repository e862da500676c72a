"""Tickets in a sealed file: across restarts, for one call where J is 0, gone when anything changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from sipmikey.agent import Agent, AgentConfig
from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.documents import (
    KeptResolved,
    grant_document,
    grant_from,
    resolved_document,
    resolved_from,
)
from sipmikey.agent.tickets.file import TicketFile
from sipmikey.agent.tickets.resolved_tickets import ResolvedTickets
from sipmikey.agent.tickets.store import TicketStore, desired_policy, make_own_ticket
from sipmikey.call.events import CallEnded, MediaProtection, Security
from sipmikey.call.reasons import Reason
from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.errors import ReplayedMessage
from sipmikey.mikey.secret import Secret
from sipmikey.ticket import TicketGrant, TransferResponder
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.mode import Mode, flags_for
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
    resolve_ticket,
    start_transfer,
)

KEY, OTHER_KEY = Secret(bytes(range(32))), Secret(bytes(32))
TPK = TicketProtectionKey(key=Secret(bytes(range(32))))
ALICES = KeyManagement(
    kms=KMS,
    psk=psk(ALICE).key,
    psk_id=b"alice",
    ticket_keys=(SharedTicketKey(owner=BOB, tpk=TPK),),
)


def file_of(
    folder: Path, *, keys: KeyManagement = ALICES, identity: str = ALICE, key: Secret = KEY
) -> TicketFile:
    """The file as a process that has just started opens it."""
    return TicketFile(folder / "tickets.db", key, identity=identity, keys=keys)


class World:
    """A KMS, a clock, and how often the KMS was asked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.kms = Kms(environment(self.clock, "kms"))
        self.asked = 0
        self._seeds = iter(range(100))

    async def ask(self, message: bytes) -> bytes:
        self.asked += 1
        return self.kms.answer(message)

    def store(self, file: TicketFile, keys: KeyManagement = ALICES) -> TicketStore:
        return TicketStore(environment(self.clock, f"a{next(self._seeds)}"), keys, ALICE, file.granted)

    def get(self, file: TicketFile, keys: KeyManagement = ALICES) -> TicketGrant:
        return asyncio.run(self.store(file, keys).get(BOB, self.ask))

    def prefetch(self, file: TicketFile, keys: KeyManagement = ALICES) -> TicketGrant:
        return asyncio.run(self.store(file, keys).prefetch(BOB, self.ask))


@pytest.fixture
def world() -> World:
    return World()


def grants() -> Iterator[TicketGrant]:
    """A ticket of each mode, suite, and with and without key forking and reuse."""
    for suite, mode, forking, reuse in product((SUITE_128, SUITE_256), Mode, (True, False), (True, False)):
        flags = flags_for(mode, key_forking=forking, reuse=reuse)
        if mode.made_by_kms:
            kms = Kms(environment(seed="kms"), suite=suite)
            yield request_ticket(environment(seed="a"), kms, policy(suite, flags))
        else:
            yield from made_here(suite, mode, forking, reuse)


def made_here(suite: Suite, mode: Mode, forking: bool, reuse: bool) -> Iterator[TicketGrant]:
    shared = SharedTicketKey(owner=KMS if mode is Mode.OTWAY_REES else BOB, tpk=TPK)
    keys = replace(
        ALICES, mode=mode, ticket_keys=(shared,), key_forking=forking, reuse=reuse,
        suites=("256" if suite is SUITE_256 else "128",),
    )  # fmt: skip
    yield make_own_ticket(environment(seed="a"), keys, desired_policy(keys, ALICE, BOB))


def test_every_kind_of_ticket_comes_back_as_it_was() -> None:
    count = 0
    for grant in grants():
        assert grant_from(grant_document(grant)) == grant
        count += 1
    assert count == 32


@pytest.mark.parametrize("forking", [True, False])
def test_a_resolved_ticket_comes_back_as_it_was(world: World, forking: bool) -> None:
    kept = resolved_by_bob(world, forking=forking)
    assert resolved_from(resolved_document(kept)) == kept


def resolved_by_bob(world: World, *, forking: bool = True) -> KeptResolved:
    flags = flags_for(Mode.FULL, key_forking=forking, reuse=True)
    grant = request_ticket(environment(world.clock, "a"), world.kms, policy(flags=flags))
    transfer = start_transfer(environment(world.clock, "t"), grant)
    env = environment(world.clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    return KeptResolved(resolved=resolve_ticket(env, world.kms, responder), newest=responder.timestamp)


def test_a_ticket_that_allows_reuse_outlives_the_process(tmp_path: Path, world: World) -> None:
    first = world.get(file_of(tmp_path))
    assert world.get(file_of(tmp_path)) == first
    assert world.asked == 1


def test_a_ticket_for_one_call_is_taken_once_even_by_two_processes(tmp_path: Path, world: World) -> None:
    once = replace(ALICES, reuse=False)
    fetched = world.prefetch(file_of(tmp_path, keys=once), once)
    one, other = (world.store(file_of(tmp_path, keys=once), once) for _ in range(2))
    assert one.at_hand(BOB) == fetched
    assert other.at_hand(BOB) is None
    assert world.get(file_of(tmp_path, keys=once), once).ticket_id != fetched.ticket_id


def test_the_file_is_its_owners_and_shows_nothing(tmp_path: Path, world: World) -> None:
    grant = world.get(file_of(tmp_path))
    path = tmp_path / "tickets.db"
    assert path.stat().st_mode & 0o777 == 0o600
    octets = path.read_bytes()
    for text in (
        b"alice",
        b"bob",
        grant.mpk_i.reveal(),
        grant.keys[0].key.reveal(),
        grant.ticket.ticket_data,
    ):
        assert text not in octets
    world.store(file_of(tmp_path)).forget(BOB)
    assert file_of(tmp_path).granted.all() == []


@pytest.mark.parametrize(
    "changed",
    [
        replace(ALICES, psk=psk(BOB).key),
        replace(ALICES, kms="sip:other@example.com"),
        replace(ALICES, ticket_keys=()),
        replace(ALICES, mode=Mode.KERBEROS),
        replace(ALICES, reuse=False),
        replace(ALICES, suites=("128",)),
    ],
    ids=["psk", "KMS", "ticket key", "mode", "reuse", "suite"],
)
def test_a_ticket_is_dropped_when_what_it_depends_on_has_changed(
    tmp_path: Path, world: World, changed: KeyManagement
) -> None:
    world.get(file_of(tmp_path))
    store = world.store(file_of(tmp_path, keys=changed), changed)
    assert store.at_hand(BOB) is None
    assert file_of(tmp_path, keys=changed).granted.get(BOB) is None


def test_what_does_not_fit_is_taken_out_of_the_file(tmp_path: Path, world: World) -> None:
    world.get(file_of(tmp_path))
    file = file_of(tmp_path, keys=replace(ALICES, psk=psk(BOB).key))
    assert file.granted.all() == []
    with file.granted._opened() as database:
        assert database.execute("select count(*) from granted").fetchone() == (0,)


def test_key_forking_that_is_wanted_now_was_not_then(tmp_path: Path, world: World) -> None:
    without = replace(ALICES, key_forking=False)
    world.get(file_of(tmp_path, keys=without), without)
    assert world.store(file_of(tmp_path)).at_hand(BOB) is None


def test_an_expired_ticket_is_dropped(tmp_path: Path, world: World) -> None:
    own = replace(ALICES, mode=Mode.PRESHARED, ticket_lifetime_s=60.0)
    world.get(file_of(tmp_path, keys=own), own)
    world.clock.advance(56)
    assert world.store(file_of(tmp_path, keys=own), own).at_hand(BOB) is None
    assert file_of(tmp_path, keys=own).granted.all() == []


def test_another_key_or_an_altered_row_is_as_if_nothing_was_kept(
    tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.get(file_of(tmp_path))
    assert file_of(tmp_path, key=OTHER_KEY).granted.all() == []
    file = file_of(tmp_path)
    with file.granted._opened() as database:
        database.execute("update granted set sealed = substr(sealed, 1, 40)")
    assert file.granted.get(BOB) is None
    assert "cannot be read" in caplog.text
    assert file.granted.all() == []


def test_identities_share_a_file_and_not_their_tickets(tmp_path: Path, world: World) -> None:
    world.get(file_of(tmp_path))
    carols = file_of(tmp_path, identity=CAROL)
    assert carols.granted.get(BOB) is None
    assert carols.granted.all() == []
    assert len(file_of(tmp_path).granted.all()) == 1


def test_what_was_resolved_is_used_after_a_restart_and_a_replay_is_not(tmp_path: Path, world: World) -> None:
    kept = resolved_by_bob(world)
    env = environment(world.clock, "b2")
    before = ResolvedTickets(env, file_of(tmp_path, identity=BOB).resolved)
    before.keep("ticket", kept.resolved, kept.newest)
    second = env.timestamp()
    before.used("ticket", second)
    after = ResolvedTickets(env, file_of(tmp_path, identity=BOB).resolved)
    assert after.get("ticket") == kept.resolved
    for old in (kept.newest, second):
        with pytest.raises(ReplayedMessage):
            after.used("ticket", old)
    after.used("ticket", env.timestamp())


def test_a_resolved_ticket_for_one_call_is_not_kept(tmp_path: Path, world: World) -> None:
    grant = request_ticket(environment(world.clock, "a"), world.kms, policy())
    transfer = start_transfer(environment(world.clock, "t"), grant)
    env = environment(world.clock, "b")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    resolved = resolve_ticket(env, world.kms, responder)
    tickets = ResolvedTickets(env, file_of(tmp_path, identity=BOB).resolved)
    tickets.keep("ticket", resolved, responder.timestamp)
    assert tickets.get("ticket") is None


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        (Reason.KMS_REFUSED, False),
        (Reason.INVALID_TICKET, False),
        (Reason.AUTH_FAILURE, False),
        (Reason.HANGUP, True),
        (Reason.BUSY, True),
        (Reason.PEER_GONE, True),
    ],
)
def test_a_ticket_that_was_not_taken_is_kept_no_longer(
    tmp_path: Path, world: World, reason: Reason, kept: bool
) -> None:
    world.get(file_of(tmp_path))
    agent = Agent(AgentConfig(identity=ALICE, keys=ALICES), ticket_file=file_of(tmp_path))
    agent._drop_refused(
        CallEnded(
            at=0.0, call="1", reason=reason, side="remote", status=403, detail="", duration_s=0.0,
            security=Security(signalling="udp", media=MediaProtection.HELD, called=BOB),
        )
    )  # fmt: skip
    assert (file_of(tmp_path).granted.get(BOB) is not None) is kept
