"""What a mailbox takes, from whom, and for how long. A clock that the test sets; a real store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sipmikey.kms.server.protocol import RequestHead
from sipmikey.mailbox.app import MailboxApplication
from sipmikey.mailbox.mailbox import Mailbox, Visitor, token_digest
from sipmikey.mailbox.refusals import MailboxRefusal, StoreFailed
from sipmikey.mailbox.settings import Depositors, MailboxSettings
from sipmikey.mailbox.store import MailboxStore
from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter
from tests.deferred.parties import ALICE, BOB, FRAMES, HOUR, domain, left, ticket
from tests.kms.domain import Domain

DAY = 24 * HOUR
STRANGER = Visitor(source="192.0.2.1")
OWNER = Visitor(source="192.0.2.2", token="of bob")
MALLORY = Visitor(source="192.0.2.3", token="of mallory")


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Domain]:
    made = domain(tmp_path_factory.mktemp("kms"))
    yield made
    made.close()


@dataclass
class Kept:
    mailbox: Mailbox
    store: MailboxStore
    told: list[str]
    now: float

    def use(self, **changes: object) -> None:
        self.mailbox.settings = replace(self.mailbox.settings, **changes)  # type: ignore[arg-type]


@pytest.fixture
def kept(tmp_path: Path, kms: Domain) -> Iterator[Kept]:
    store = MailboxStore(tmp_path / "mailbox.sqlite", create=True)
    store.add_box(BOB, token_digest("of bob"), 0.0)
    store.add_box("sip:mallory@example.com", token_digest("of mallory"), 0.0)
    told: list[str] = []
    made: Kept
    mailbox = Mailbox(store, MailboxSettings(), now=lambda: made.now, random=os.urandom, changed=told.append)
    made = Kept(mailbox, store, told, float(kms.clock.seconds()))
    yield made
    store.close()


@contextmanager
def refused(status: int, reason: str) -> Iterator[None]:
    with pytest.raises(MailboxRefusal) as caught:
        yield
    assert (caught.value.status, caught.value.reason) == (status, reason)


def test_what_is_left_is_listed_fetched_heard_and_deleted(kept: Kept, kms: Domain) -> None:
    octets = left(kms).encode()
    message = kept.mailbox.deposit(BOB, octets, STRANGER)
    assert (message.sender, message.duration_s, message.size) == (ALICE, 0.6, len(octets))
    assert message.expires == message.deposited + 30 * DAY
    assert kept.mailbox.messages(BOB, OWNER) == (message,)
    assert kept.mailbox.fetch(BOB, message.name, OWNER) == octets
    kept.mailbox.mark_heard(BOB, message.name, OWNER)
    assert (kept.store.use(BOB).new, kept.store.use(BOB).old) == (0, 1)
    kept.mailbox.delete(BOB, message.name, OWNER)
    assert kept.mailbox.messages(BOB, OWNER) == ()
    assert kept.told == [BOB] * 3


def test_nobody_but_the_owner_reads_a_box(kept: Kept, kms: Domain) -> None:
    name = kept.mailbox.deposit(BOB, left(kms).encode(), STRANGER).name
    box = kept.mailbox
    for visitor in (STRANGER, MALLORY, Visitor(source="x", names=frozenset({"sip:mallory@example.com"}))):
        with refused(401, "not-the-owner"):
            box.messages(BOB, visitor)
        with refused(401, "not-the-owner"):
            box.fetch(BOB, name, visitor)
        with refused(401, "not-the-owner"):
            box.mark_heard(BOB, name, visitor)
        with refused(401, "not-the-owner"):
            box.delete(BOB, name, visitor)
    with refused(401, "not-the-owner"):
        box.messages("sip:nobody@example.com", OWNER)
    assert [message.heard for message in box.messages(BOB, OWNER)] == [False]


def test_a_message_of_another_box_is_not_there(kept: Kept, kms: Domain) -> None:
    name = kept.mailbox.deposit(BOB, left(kms).encode(), STRANGER).name
    mallorys = "sip:mallory@example.com"
    with refused(404, "no-such-message"):
        kept.mailbox.fetch(mallorys, name, MALLORY)
    with refused(404, "no-such-message"):
        kept.mailbox.delete(mallorys, name, MALLORY)
    with refused(404, "no-such-message"):
        kept.mailbox.mark_heard(mallorys, name, MALLORY)


def test_a_certificate_opens_the_box_of_its_name(kept: Kept) -> None:
    bob = Visitor(source="x", names=frozenset({"SIP:bob@EXAMPLE.com"}))
    assert kept.mailbox.messages(BOB, bob) == ()
    with refused(401, "not-the-owner"):
        kept.mailbox.messages(BOB, Visitor(source="x", names=frozenset({"bob"})))


def test_what_is_no_message_for_the_box_is_refused(kept: Kept, kms: Domain) -> None:
    with refused(404, "no-such-box"):
        kept.mailbox.deposit("sip:nobody@example.com", left(kms).encode(), STRANGER)
    with refused(422, "malformed-deposit"):
        kept.mailbox.deposit(BOB, b"RIFF", STRANGER)
    with refused(422, "malformed-message"):
        kept.mailbox.deposit(BOB, replace(left(kms), transfer_init=b"x").encode(), STRANGER)
    with refused(422, "disordered-deposit"):
        deposit = left(kms)
        moved = (deposit.packets[1], deposit.packets[0], *deposit.packets[2:])
        kept.mailbox.deposit(BOB, replace(deposit, packets=moved).encode(), STRANGER)
    with refused(422, "other-addressee"):
        kept.mailbox.deposit(BOB, left(kms, to=ALICE).encode(), STRANGER)
    assert kept.told == []


def test_the_same_message_is_taken_once(kept: Kept, kms: Domain) -> None:
    octets = left(kms).encode()
    name = kept.mailbox.deposit(BOB, octets, STRANGER).name
    for _ in range(2):
        with refused(409, "replayed-message"):
            kept.mailbox.deposit(BOB, octets, STRANGER)
        if kept.mailbox.messages(BOB, OWNER):
            kept.mailbox.delete(BOB, name, OWNER)  # after that as well


def test_a_message_that_nobody_can_open_is_refused(kept: Kept, kms: Domain) -> None:
    octets = left(kms).encode()
    kept.now += 21 * HOUR
    with refused(422, "ticket-expired"):
        kept.mailbox.deposit(BOB, octets, STRANGER)


def test_a_box_holds_so_many_messages_and_octets(kept: Kept, kms: Domain) -> None:
    one, other = left(kms).encode(), left(kms).encode()
    kept.use(box_messages=1)
    kept.mailbox.deposit(BOB, one, STRANGER)
    with refused(507, "box-full"):
        kept.mailbox.deposit(BOB, other, STRANGER)
    kept.use(box_messages=9, box_bytes=len(one) + 10)
    with refused(507, "box-full"):
        kept.mailbox.deposit(BOB, other, STRANGER)
    kept.use(message_bytes=len(other) - 1)
    with refused(413, "limit-exceeded"):
        kept.mailbox.deposit(BOB, other, STRANGER)


def test_one_source_has_so_many_messages_kept(kept: Kept, kms: Domain) -> None:
    kept.use(source_messages=1)
    kept.mailbox.deposit(BOB, left(kms).encode(), Visitor(source="2001:db8::1"))
    with refused(429, "source-quota"):
        kept.mailbox.deposit(BOB, left(kms).encode(), Visitor(source="2001:db8::2"))
    kept.mailbox.deposit(BOB, left(kms).encode(), Visitor(source="2001:db8:0:1::1"))


def test_members_only_leave_messages_in_their_own_name(kept: Kept, kms: Domain) -> None:
    kept.use(depositors=Depositors.MEMBERS)
    with refused(401, "not-a-member"):
        kept.mailbox.deposit(BOB, left(kms).encode(), STRANGER)
    with refused(403, "other-sender"):
        kept.mailbox.deposit(BOB, left(kms).encode(), MALLORY)
    kept.store.add_box(ALICE, None, 0.0)
    alice = Visitor(source="x", names=frozenset({ALICE}))
    assert kept.mailbox.deposit(BOB, left(kms).encode(), alice).sender == ALICE


def test_what_was_kept_long_enough_is_deleted(kept: Kept, kms: Domain) -> None:
    kept.use(keep_s=HOUR)
    octets = left(kms).encode()
    kept.mailbox.deposit(BOB, octets, STRANGER)
    kept.now += HOUR - 1
    assert kept.mailbox.prune() == 0
    kept.now += 1
    assert kept.mailbox.prune() == 1
    assert kept.mailbox.messages(BOB, OWNER) == ()
    assert kept.told == [BOB, BOB]
    with refused(409, "replayed-message"):
        kept.mailbox.deposit(BOB, octets, STRANGER)


def test_another_token_replaces_the_first_and_a_removed_box_is_gone(kept: Kept, kms: Domain) -> None:
    kept.mailbox.deposit(BOB, left(kms).encode(), STRANGER)
    assert not kept.store.add_box(BOB, token_digest("another"), 1.0)
    with refused(401, "not-the-owner"):
        kept.mailbox.messages(BOB, OWNER)
    assert len(kept.mailbox.messages(BOB, replace(OWNER, token="another"))) == 1
    assert kept.store.remove_box(BOB)
    assert not kept.store.remove_box(BOB)
    assert kept.store.kept_of_source("192.0.2.1") == 0


def test_the_store_holds_no_key_no_token_and_no_sound(kept: Kept, kms: Domain) -> None:
    grant = ticket(kms)
    name = kept.mailbox.deposit(BOB, left(kms, grant).encode(), STRANGER).name
    octets = [path.read_bytes() for path in kept.store.path.parent.iterdir()]
    secrets = [grant.mpk_i.reveal(), *(key.key.reveal() for key in grant.keys), *FRAMES, b"of bob"]
    assert any(name.encode() in one for one in octets)
    for secret in secrets:
        assert not any(secret[:16] in one for one in octets)
    assert kept.store.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("how", ["deleted", "expired", "removed"])
def test_no_file_holds_what_was_deleted(kept: Kept, kms: Domain, tmp_path: Path, how: str) -> None:
    octets = left(kms).encode()
    message = kept.mailbox.deposit(BOB, octets, STRANGER)
    assert any(octets[-200:] in path.read_bytes() for path in tmp_path.iterdir())
    if how == "deleted":
        kept.mailbox.delete(BOB, message.name, OWNER)
    elif how == "expired":
        kept.now = message.expires
        kept.mailbox.prune()
    else:
        kept.store.remove_box(BOB)
    assert not any(octets[-200:] in path.read_bytes() for path in tmp_path.iterdir())


def test_a_store_that_is_not_there_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="mailbox init"):
        MailboxStore(tmp_path / "none.sqlite")
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreFailed, match=r"damaged\.sqlite"):
        MailboxStore(damaged)
    MailboxStore(tmp_path / "made.sqlite", create=True).close()
    with pytest.raises(LocalError, match="exists already"):
        MailboxStore(tmp_path / "made.sqlite", create=True)


def test_a_store_that_fails_is_answered_with_503_and_nothing_of_it(
    kept: Kept, kms: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    def limiter() -> RateLimiter:
        return RateLimiter(per_second=1e6, burst=1000, now=lambda: 0.0)

    application = MailboxApplication(kept.mailbox, requests=limiter(), deposits=limiter(), failures=limiter())
    head = RequestHead(b"GET", b"/mailbox/sip%3Abob%40example.com/messages", b"", [], "x", frozenset())
    kept.store.close()
    response = asyncio.run(application.answer(head, b""))
    assert (response.status, dict(response.headers)[b"mailbox-reason"]) == (503, b"unavailable")
    assert str(kept.store.path).encode() not in response.body
    assert caplog.records[-1].message == "store-failed"
