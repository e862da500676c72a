"""The keyings themselves, one side against the other: tickets, SDES, clear, none."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from sipmikey.call import CallPolicy, Lane, StandardKeyings
from sipmikey.call.events import MediaProtection
from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.clear import CLEAR
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.keying.no_keying import REFUSED, NoKeying
from sipmikey.call.keying.permission import stack_keys
from sipmikey.call.keying.sdes import SDES
from sipmikey.call.keying.ticket import TICKET
from sipmikey.call.keying.ticket_keying import TicketKeying
from sipmikey.call.policy import SecurityMode
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.keys.suite import SUITE_128
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sdp.errors import AnswerMissing, SentSdpAltered
from sipmikey.ticket import TicketGrant
from tests.sdp.descriptions import AUDIO
from tests.sdp.parties import ALICE, BOB, KMS, World, credential, grant
from tests.sdp.parties import Kms as MemoryKms

POLICY = CallPolicy()
PREFERRED = CallPolicy(security=SecurityMode.PREFERRED, alternative="sdes-without-tls")


class Two:
    """Alice's keying and Bob's, and the KMS that they ask."""

    def __init__(self, *, kept: object = None, policy: CallPolicy = POLICY) -> None:
        self.world = World()
        self.env = self.world.env()
        self.kms = MemoryKms(self.env)
        self.keyings = {
            name: StandardKeyings(
                self.env, policy, identity=name, suites=("128",), credential=credential(name), kms=KMS,
                kept=kept,  # type: ignore[arg-type]
            )
            for name in (ALICE, BOB)
        }  # fmt: skip
        self.consent = Consent(policy.retarget, BOB)
        self.alice = self.calling(TICKET, self.grant())
        self.bob = self.keyings[BOB].called(TICKET, caller=ALICE, offer=None)

    def calling(self, kind: KeyingKind, grant: TicketGrant | None = None) -> Keying:
        """Return what keys a call of Alice's to Bob."""
        return self.keyings[ALICE].calling(kind, called=BOB, consent=self.consent, grant=grant)

    def grant(self) -> TicketGrant:
        """Return a ticket of Alice's for Bob."""
        return grant(self.world, self.kms, suite=SUITE_128)

    def talk(self) -> None:
        """Offer, ask, answer, choose."""
        offer = self.alice.make_offer(AUDIO)
        self.alice.check_sent(offer, "udp")
        self.bob.receive_offer(offer)
        if (question := self.bob.question()) is not None:
            assert question.asked == KMS
            assert BOB in (self.bob.receive_kms(self.kms.request(question.message)) or "")
        answer, theirs = self.bob.make_answer(AUDIO)
        self.bob.check_sent(answer, "udp")
        ours = self.alice.receive_answer(answer, "b")
        self.alice.choose("b")
        self.bob.choose("")
        assert ours.peer == BOB
        assert theirs.peer == ALICE
        assert ours.streams[0].send_key == theirs.streams[0].receive_key
        assert ours.streams[0].receive_key == theirs.streams[0].send_key


def test_both_sides_of_a_ticket_have_the_same_keys_and_new_ones_on_request() -> None:
    two = Two()
    two.talk()
    assert two.alice.may_rekey
    for caller, callee in ((two.alice, two.bob), (two.bob, two.alice)):
        offer = caller.make_offer(AUDIO, rekey=True)
        caller.check_sent(offer, "udp")
        callee.receive_offer(offer)
        assert callee.question() is None
        answer, theirs = callee.make_answer(AUDIO)
        callee.check_sent(answer, "udp")
        ours = caller.receive_answer(answer, "b")
        assert ours.streams[0].send_key == theirs.streams[0].receive_key
    two.alice.make_offer(AUDIO)
    two.alice.abandon()
    for side in (two.alice, two.bob):
        side.close()
        side.close()


def test_a_description_that_left_altered_is_noticed() -> None:
    two = Two()
    offer = two.alice.make_offer(AUDIO)
    with pytest.raises(SentSdpAltered):
        two.alice.check_sent(offer.replace("mikey A", "mikey B"), "udp")


def test_an_offer_is_judged_once() -> None:
    two = Two()
    bob = two.bob
    assert isinstance(bob, TicketKeying)
    offer = two.alice.make_offer(AUDIO)
    assert bob.judge(offer) is None
    assert bob.receive_offer(offer).called == BOB
    wrong = two.keyings[BOB].called(TICKET, caller=ALICE, offer=None)
    assert isinstance(wrong, TicketKeying)
    judged = wrong.judge(AUDIO)
    assert isinstance(judged, PeerError)
    with pytest.raises(PeerError) as raised:
        wrong.receive_offer(AUDIO)
    assert raised.value is judged
    assert isinstance(two.alice, TicketKeying)
    assert two.alice.judge(offer) is None, "the caller judges no offer before its call is answered"


class Kept:
    """Tickets that need not be asked about again."""

    def __init__(self) -> None:
        self.tickets: dict[str, object] = {}
        self.uses = 0

    def get(self, ticket_id: str) -> object:
        return self.tickets.get(ticket_id)

    def keep(self, ticket_id: str, resolved: object, timestamp: object) -> None:
        self.tickets[ticket_id] = resolved

    def used(self, ticket_id: str, timestamp: object) -> None:
        self.uses += 1


def test_a_ticket_that_is_kept_is_asked_about_once() -> None:
    kept = Kept()
    two = Two(kept=kept)
    two.talk()
    asked = len(two.kms.asked)
    ticket = two.grant()
    first = two.calling(TICKET, ticket)
    second = two.calling(TICKET, ticket)
    for number, alice in enumerate((first, second)):
        bob = two.keyings[BOB].called(TICKET, caller=ALICE, offer=None)
        bob.receive_offer(alice.make_offer(AUDIO))
        question = bob.question()
        assert (question is None) is bool(number)
        if question is not None:
            bob.receive_kms(two.kms.request(question.message))
    assert kept.uses == 1
    assert len(two.kms.asked) == asked + 2


def test_an_answer_of_the_kms_that_cannot_be_used_is_the_kmss_fault() -> None:
    two = Two()
    two.bob.receive_offer(two.alice.make_offer(AUDIO))
    question = two.bob.question()
    assert question is not None
    response = bytearray(two.kms.request(question.message))
    response[-1] ^= 1
    with pytest.raises(AgentError) as raised:
        two.bob.receive_kms(bytes(response))
    assert raised.value.side == "kms"


def test_without_a_kms_a_ticket_of_others_cannot_be_resolved() -> None:
    two = Two()
    keyings = StandardKeyings(two.env, POLICY, identity=BOB, suites=("128",))
    alone = keyings.called(TICKET, caller=ALICE, offer=None)
    alone.receive_offer(two.alice.make_offer(AUDIO))
    with pytest.raises(AgentError) as raised:
        alone.question()
    assert raised.value.reason is Reason.NO_KMS


WRONG_WAY: list[tuple[str, Callable[[Keying], object], Reason]] = [
    ("alice", lambda side: side.receive_kms(b""), Reason.UNEXPECTED_MESSAGE),
    ("alice", lambda side: side.make_answer(AUDIO), Reason.OFFER_MISSING),
    ("bob", lambda side: side.make_offer(AUDIO), Reason.OFFER_MISSING),
    ("bob", lambda side: side.receive_answer(AUDIO, "a"), Reason.UNEXPECTED_MESSAGE),
]


@pytest.mark.parametrize(("name", "act", "reason"), WRONG_WAY)
def test_what_one_side_cannot_do_is_an_error_that_says_so(
    name: str, act: Callable[[Keying], object], reason: Reason
) -> None:
    side: Keying = getattr(Two(), name)
    with pytest.raises(AgentError) as raised:
        act(side)
    assert raised.value.reason is reason


def test_what_each_side_may() -> None:
    two = Two()
    assert two.alice.question() is None
    assert not two.alice.may_rekey
    assert not two.alice.shares_keys
    two.bob.discard("x")
    two.alice.discard("x")


def test_a_branch_may_offer_before_it_has_the_call() -> None:
    """UPDATE before the 200: its keys change, and its answer is checked as sent."""
    two = Two()
    offer = two.alice.make_offer(AUDIO)
    two.bob.receive_offer(offer)
    question = two.bob.question()
    assert question is not None
    two.bob.receive_kms(two.kms.request(question.message))
    answer, _ = two.bob.make_answer(AUDIO)
    two.alice.receive_answer(answer, "b")
    two.bob.choose("")
    early = two.bob.make_offer(AUDIO, rekey=True)
    assert two.alice.receive_offer(early, "b").streams == ()
    text, ours = two.alice.make_answer(AUDIO)
    two.alice.check_sent(text, "udp")
    theirs = two.bob.receive_answer(text, "")
    assert ours.streams[0].send_key == theirs.streams[0].receive_key
    again = two.bob.make_offer(AUDIO, rekey=True)
    two.alice.receive_offer(again, "b")
    two.alice.abandon()
    two.alice.choose("b")


def crypto(key: int, *, tag: int = 1, suite: str = "AES_CM_128_HMAC_SHA1_80", more: str = "") -> str:
    inline = base64.b64encode(bytes([key]) * 30).decode()
    return AUDIO.replace("RTP/AVP", "RTP/SAVP") + f"a=crypto:{tag} {suite} inline:{inline}{more}\r\n"


def sdes() -> tuple[Keying, Keying]:
    two = Two(policy=PREFERRED)
    return (
        two.calling(SDES),
        two.keyings[BOB].called(SDES, caller=ALICE, offer=crypto(1)),
    )


def test_both_sides_of_sdes_have_the_same_keys() -> None:
    alice, bob = sdes()
    kind = alice.kind
    assert (kind.name, kind.lane, kind.gives_keys, kind.vouches) == ("sdes", Lane.BY_STACK, False, False)
    alice.check_sent(alice.make_offer(crypto(1)), "tls")
    answer, theirs = bob.make_answer(crypto(2))
    ours = alice.receive_answer(answer, "b")
    assert ours.streams[0].send_key == theirs.streams[0].receive_key
    assert ours.peer is None
    alice.choose("b")
    assert alice.question() is None
    alice.abandon()
    alice.close()


def test_of_sdes_the_branch_that_answered_last_has_the_keys() -> None:
    alice, _ = sdes()
    alice.make_offer(crypto(1))
    alice.receive_answer(crypto(2), "a")
    alice.receive_answer(crypto(3), "b")
    with pytest.raises(AnswerMissing):
        alice.choose("a")
    with pytest.raises(AgentError):
        alice.receive_offer(crypto(4), "a")
    alice.receive_offer(crypto(4), "b")
    alice.discard("a")
    alice.discard("b")
    with pytest.raises(AnswerMissing):
        alice.choose("b")
    with pytest.raises(AnswerMissing):
        alice.receive_answer(None, "b")
    with pytest.raises(AgentError):
        alice.receive_kms(b"")


@pytest.mark.parametrize(
    "answer",
    [
        AUDIO,
        AUDIO.replace("RTP/AVP", "RTP/SAVP"),
        crypto(2, tag=2),
        crypto(2, suite="AES_CM_128_HMAC_SHA1_32"),
        crypto(2, suite="AES_256_CM_HMAC_SHA1_80"),
        crypto(2).replace("inline:", "inline:!"),
        crypto(2, more="|2^20|1:4"),
        crypto(2) + "a=crypto:x y z\r\n",
        crypto(2) + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n",
        "",
    ],
)
def test_an_answer_that_does_not_fit_the_offer_gives_no_keys(answer: str) -> None:
    alice, _ = sdes()
    alice.make_offer(crypto(1))
    with pytest.raises(PeerError):
        alice.receive_answer(answer, "b")


def test_keys_of_sdes_that_left_altered_or_in_clear_end_the_call() -> None:
    alice, _ = sdes()
    alice.make_offer(crypto(1))
    with pytest.raises(SentSdpAltered):
        alice.check_sent(crypto(2), "tls")
    tls = CallPolicy(security=SecurityMode.PREFERRED, alternative="sdes")
    strict = Two(policy=tls).calling(SDES)
    offer = strict.make_offer(crypto(1))
    strict.check_sent(offer, "tls")
    with pytest.raises(AgentError) as raised:
        strict.check_sent(offer, "udp")
    assert raised.value.reason is Reason.POLICY


def test_a_call_in_clear_has_no_keys() -> None:
    clear = Two().calling(CLEAR)
    assert clear.make_offer(AUDIO) == AUDIO
    assert clear.receive_answer(AUDIO, "b").streams == ()
    assert clear.kind.unkeyed is MediaProtection.OFF
    assert clear.question() is None
    clear.check_sent(AUDIO, "udp")
    clear.choose("b")
    clear.discard("b")
    clear.abandon()
    clear.close()


def test_where_there_is_no_keying_nothing_is_described() -> None:
    none = Two().calling(REFUSED)
    assert isinstance(none, NoKeying)
    acts: list[Callable[[], object]] = [
        lambda: none.make_offer(AUDIO),
        lambda: none.receive_answer(AUDIO, "b"),
        lambda: none.choose("b"),
        lambda: none.receive_offer(AUDIO),
        lambda: none.receive_kms(b""),
    ]
    for act in acts:
        with pytest.raises(AgentError) as raised:
            act()
        assert raised.value.reason is Reason.POLICY
    assert none.question() is None
    assert none.make_answer(AUDIO)[1].streams == ()
    none.check_sent(AUDIO, "udp")
    none.discard("b")
    none.abandon()
    none.close()


def test_one_replay_cache_serves_all_calls() -> None:
    two = Two()
    offer = two.alice.make_offer(AUDIO)
    two.bob.receive_offer(offer)
    again = two.keyings[BOB].called(TICKET, caller=ALICE, offer=None)
    question = two.bob.question()
    assert question is not None
    two.bob.receive_kms(two.kms.request(question.message))
    two.bob.make_answer(AUDIO)
    again.receive_offer(offer)
    asked = again.question()
    assert asked is not None
    response = two.kms.request(asked.message)
    with pytest.raises(PeerError) as raised:
        again.receive_kms(response)
    assert raised.value.reason == "replayed-message"


def test_the_stack_puts_keys_into_descriptions_where_policy_names_that_only() -> None:
    assert stack_keys(POLICY, ("256", "128")) is None
    loose = stack_keys(PREFERRED, ("256", "128"))
    assert loose is not None
    assert loose.suites == ("AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80")
    assert loose.only is None
    assert loose.may_go_over("udp")
    strict = stack_keys(CallPolicy(alternative="sdes"), ("128",))
    assert strict is not None
    assert strict.only == "tls"
    assert not strict.may_go_over("udp")


def test_an_alternative_that_no_keying_has_is_refused_by_name() -> None:
    with pytest.raises(LocalError, match=r"security\.alternative: 'dtls' is not one of none, sdes,"):
        StandardKeyings(Two().env, CallPolicy(alternative="dtls"), identity=BOB)
