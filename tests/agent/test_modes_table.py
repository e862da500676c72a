"""The tables of docs/modes.md: which calls work while the KMS is down, and why a combination is refused.

No SIP and no KMS server: the store of tickets, the keying of calls, and a KMS in memory.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.resolved_tickets import ResolvedTickets
from sipmikey.agent.tickets.store import TicketStore
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.means import Incoming, Means, Outgoing, TicketMeans, srtp_suites
from sipmikey.call.keying.ticket_keying import TicketKeying
from sipmikey.call.policy import CallPolicy
from sipmikey.call.reasons import AgentError, Reason, reason_of
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.ticket import KmsInit, RequestAtKms, ResolveAtKms
from sipmikey.ticket.base_ticket import tpk_id
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST
from sipmikey.ticket.mode import Mode
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.shared_keys import SharedTicketKey
from tests.sdp.descriptions import AUDIO
from tests.ticket.parties import ALICE, BOB, CAROL, KMS, Clock, environment, psk
from tests.ticket.parties import Kms as PlainKms

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "modes.md"

SUITES = srtp_suites(("256",))


def key(name: bytes) -> TicketProtectionKey:
    return TicketProtectionKey(key=Secret(name.ljust(32, b"-")), key_id=name)


BOB_AND_KMS, ALICE_AND_KMS, ALICE_AND_BOB = key(b"bob-kms"), key(b"alice-kms"), key(b"alice-bob")
ALICES_KEYS = (SharedTicketKey(owner=KMS, tpk=ALICE_AND_KMS), SharedTicketKey(owner=BOB, tpk=ALICE_AND_BOB))
BOBS_KEYS = (SharedTicketKey(owner=KMS, tpk=BOB_AND_KMS), SharedTicketKey(owner=ALICE, tpk=ALICE_AND_BOB))


class Kms(PlainKms):
    """A KMS that seals tickets of mode 2 with bob's key, and knows what it shares. It can be down."""

    down = False

    def answer(self, data: bytes) -> bytes:
        if self.down:
            raise AgentError(Reason.KMS_UNREACHABLE, "the KMS is down", side="kms")
        init = KmsInit(self.env, data)
        authenticated = init.verify_psk(psk(init.identity or ""), owner=init.identity or "", kms=KMS)
        if init.kind is TICKET_REQUEST:
            request = RequestAtKms(self.env, authenticated)
            tpk = self.tpk if request.policy.flags.resolve_mandatory else BOB_AND_KMS
            return request.grant(request.policy, tpk, kms=KMS)[0]
        resolve = ResolveAtKms(self.env, authenticated)
        named = tpk_id(resolve.ticket, self.env.limits)
        (tpk,) = (one for one in (self.tpk, BOB_AND_KMS, ALICE_AND_KMS) if one.key_id == named)
        return resolve.respond(resolve.open(tpk), answerer=resolve.identity, kms=KMS)


def calling(env: Environment, grant: TicketGrant) -> TicketKeying:
    """Return Alice's keying of a call to Bob."""
    means = Means(env=env, policy=CallPolicy(), identity=ALICE, suites=SUITES)
    return TicketKeying.calling(means, Outgoing(called=BOB, grant=grant, accepts=lambda peer: True))


@dataclass
class World:
    """Alice calls bob. ``asked``: how often each side asked the KMS in the last call."""

    mode: Mode
    key_forking: bool = True
    reuse: bool = True
    kept: bool = True
    bobs_keys: tuple[SharedTicketKey, ...] = BOBS_KEYS
    alices_keys: tuple[SharedTicketKey, ...] = ALICES_KEYS
    bobs_name: str = BOB
    clock: Clock = field(default_factory=Clock)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kms = Kms(environment(self.clock, "kms"))
        self.env = environment(self.clock, "both")
        keys = KeyManagement(
            kms=KMS, psk=psk(ALICE).key, psk_id=ALICE.encode(), mode=self.mode, reuse=self.reuse,
            key_forking=self.key_forking, ticket_keys=self.alices_keys, suites=("256",),
        )  # fmt: skip
        self.store = TicketStore(self.env, keys, ALICE)
        self.resolved = ResolvedTickets(self.env) if self.kept else None
        self.replay = ReplayCache(clock_skew_s=300)

    async def ask(self, message: bytes) -> bytes:
        self.asked.append("alice")
        return self.kms.answer(message)

    def fetch(self) -> None:
        asyncio.run(self.store.prefetch(BOB, self.ask))

    def call(self) -> tuple[Agreement, Agreement]:
        """Key a call; return what each side agreed on."""
        self.asked.clear()
        grant = asyncio.run(self.store.get(BOB, self.ask))
        alice = calling(self.env, grant)
        offer = alice.make_offer(AUDIO)
        bob = self.bob()
        bob.receive_offer(offer)
        if (question := bob.question()) is not None:
            self.asked.append("bob")
            bob.receive_kms(self.kms.answer(question.message))
        answer, bobs = bob.make_answer(AUDIO)
        alices = alice.receive_answer(answer, "tag")
        alice.choose("tag")
        return alices, bobs

    def bob(self) -> TicketKeying:
        tickets = TicketMeans(
            credential=psk(self.bobs_name), kms=KMS, kept=self.resolved, ticket_keys=self.bobs_keys,
            replay=self.replay,
        )  # fmt: skip
        means = Means(
            env=self.env, policy=CallPolicy(), identity=self.bobs_name, suites=SUITES, tickets=tickets
        )
        return TicketKeying.called(means, Incoming(caller=ALICE, offer=None))

    def refused(self) -> tuple[Reason, str]:
        """Return why a call is refused, and how far it came."""
        with pytest.raises((PeerError, AgentError)) as error:
            self.call()
        return reason_of(error.value), self.asked[-1] if self.asked else ""


def works(world: World) -> list[str]:
    alices, bobs = world.call()
    assert alices.peer in (BOB, world.bobs_name)
    assert bobs.peer == ALICE
    assert (alices.streams[0].send_key, alices.streams[0].receive_key) == (
        bobs.streams[0].receive_key,
        bobs.streams[0].send_key,
    )
    return world.asked


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        (Mode.FULL, ["alice", "bob"]),
        (Mode.KERBEROS, ["alice"]),
        (Mode.OTWAY_REES, ["bob"]),
        (Mode.PRESHARED, []),
    ],
)
def test_who_asks_the_kms(mode: Mode, asked: list[str]) -> None:
    assert works(World(mode)) == asked


@pytest.mark.parametrize(
    ("mode", "who"),
    [(Mode.FULL, "alice"), (Mode.KERBEROS, "alice"), (Mode.OTWAY_REES, "bob")],
)
def test_kms_down_and_nothing_kept(mode: Mode, who: str) -> None:
    world = World(mode)
    world.kms.down = True
    assert world.refused() == (Reason.KMS_UNREACHABLE, who)


def test_kms_down_and_no_kms_needed() -> None:
    world = World(Mode.PRESHARED)
    world.kms.down = True
    assert works(world) == []


def test_kms_down_and_only_the_caller_has_a_ticket() -> None:
    """Full: the callee cannot resolve it. Kerberos-like: the callee opens it."""
    full = World(Mode.FULL)
    full.fetch()
    full.kms.down = True
    assert full.refused() == (Reason.KMS_UNREACHABLE, "bob")
    kerberos = World(Mode.KERBEROS)
    kerberos.fetch()
    kerberos.kms.down = True
    assert works(kerberos) == []


@pytest.mark.parametrize("key_forking", [True, False], ids=["key forking", "no key forking"])
@pytest.mark.parametrize("mode", list(Mode))
def test_kms_down_and_both_keep_the_ticket(mode: Mode, key_forking: bool) -> None:
    world = World(mode, key_forking=key_forking)
    first, _ = world.call()
    world.kms.down = True
    assert works(world) == []
    second, _ = world.call()
    assert first.ticket == second.ticket
    assert first.streams[0].send_key != second.streams[0].send_key


def test_kms_down_and_the_callee_keeps_nothing() -> None:
    world = World(Mode.FULL, kept=False)
    world.call()
    world.kms.down = True
    assert world.refused() == (Reason.KMS_UNREACHABLE, "bob")


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.KERBEROS])
def test_kms_down_and_tickets_are_for_one_call(mode: Mode) -> None:
    world = World(mode, reuse=False)
    world.call()
    world.kms.down = True
    assert world.refused() == (Reason.KMS_UNREACHABLE, "alice")


def test_kms_down_and_a_ticket_for_one_call_was_fetched_ahead() -> None:
    world = World(Mode.KERBEROS, reuse=False)
    world.fetch()
    world.kms.down = True
    assert works(world) == []
    assert world.refused() == (Reason.KMS_UNREACHABLE, "alice")


# Refused combinations


def test_kerberos_like_with_a_callee_that_shares_no_key_asks_the_kms() -> None:
    """Nothing is refused: the KMS knows the key that the ticket is sealed with."""
    assert works(World(Mode.KERBEROS, bobs_keys=())) == ["alice", "bob"]


def test_preshared_with_a_key_of_somebody_else() -> None:
    other = SharedTicketKey(owner=ALICE, tpk=replace(ALICE_AND_BOB, key=Secret(bytes(32))))
    assert World(Mode.PRESHARED, bobs_keys=(other,)).refused()[0] is Reason.AUTH_FAILURE


def test_preshared_without_a_key_at_the_caller() -> None:
    assert World(Mode.PRESHARED, alices_keys=()).refused()[0] is Reason.UNKNOWN_KEY


def test_preshared_for_somebody_else_than_who_answers() -> None:
    assert World(Mode.PRESHARED, bobs_name=CAROL).refused()[0] is Reason.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("mode", "settings"),
    [(Mode.FULL, {"psk": None}), (Mode.KERBEROS, {"psk": None}), (Mode.OTWAY_REES, {"ticket_keys": ()})],
)
def test_a_mode_without_what_it_takes_is_a_wrong_setting(mode: Mode, settings: dict[str, object]) -> None:
    keys = KeyManagement(kms=KMS, psk=psk(ALICE).key, ticket_keys=ALICES_KEYS)
    with pytest.raises(LocalError, match=f"kms.mode {mode}"):
        replace(keys, mode=mode, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "mode", [Mode.KERBEROS, Mode.PRESHARED, Mode.FULL, Mode.OTWAY_REES], ids=lambda mode: str(mode)
)
def test_a_second_device_without_keys_of_its_own(mode: Mode) -> None:
    world = World(mode, key_forking=False)
    grant = asyncio.run(world.store.get(BOB, world.ask))
    alice = calling(world.env, grant)
    offer = alice.make_offer(AUDIO)
    assert alice.shares_keys
    answers = []
    for _ in range(2):
        world.replay = ReplayCache(clock_skew_s=300)
        bob = world.bob()
        bob.receive_offer(offer)
        if (question := bob.question()) is not None:
            bob.receive_kms(world.kms.answer(question.message))
        answers.append(bob.make_answer(AUDIO)[0])
    alice.receive_answer(answers[0], "first")
    with pytest.raises(PeerError) as refused:
        alice.receive_answer(answers[1], "second")
    assert reason_of(refused.value) is Reason.FORK_NOT_KEYED


# The page and the tests


def table(title: str) -> list[dict[str, str]]:
    """Return the rows of the table under a heading of the page, each by the words of its first row."""
    part = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in part.splitlines() if line.startswith("| ")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def modes_of(path: str, test: str) -> set[str] | None:
    """Return the modes that a test runs in, None for one without that parameter."""
    function = getattr(import_module(path.removesuffix(".py").replace("/", ".")), test)
    for mark in getattr(function, "pytestmark", ()):
        names = mark.args[0] if mark.name == "parametrize" else ()
        names = names.split(",") if isinstance(names, str) else names
        if "mode" in names:
            at = list(names).index("mode")
            return {str(value if len(names) == 1 else value[at]) for value in mark.args[1]}
    return None


COLUMNS = {
    "`full`": "full", "`full`, certificates": "full-pk", "`kerberos`": "kerberos",
    "`otway-rees`": "otway-rees", "`preshared`": "preshared",
}  # fmt: skip
NO_TEST = re.compile(
    r"(not in this mode|not: .+|always so|needs none.*|no certificates|as with certificates|as in `full`: .+)"
)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_cell_of_mode_by_feature_is_a_test_in_that_mode(column: str) -> None:
    rows = table("Mode by feature")
    assert len(rows) > 10
    for row in rows:
        cell = row[column]
        tests = named(cell)
        assert tests or NO_TEST.fullmatch(cell), f"{row['feature']}, {column}: {cell!r} names no test"
        for path, test in tests:
            modes = modes_of(path, test)
            assert modes is None or COLUMNS[column] in modes, f"{row['feature']}: {test} not in {column}"


def test_each_test_of_the_modes_is_on_the_page() -> None:
    on_page = set(named(PAGE.read_text(encoding="utf-8")))
    for path in (ROOT / "tests/interop/modes").glob("test_*.py"):
        for test in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert (str(path.relative_to(ROOT)), test) in on_page


def test_each_refused_combination_has_a_test() -> None:
    rows = table("What is refused")
    assert len(rows) > 20
    assert [row["combination"] for row in rows if not named(row["test"])] == []


def test_the_page_names_tests_that_exist() -> None:
    on_page = named(PAGE.read_text(encoding="utf-8"))
    assert len(on_page) > 80
    for path, test in on_page:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"
