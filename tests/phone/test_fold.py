"""What the phone shows after any events: it never fails, and nothing short of proven looks proven."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmikey.phone import Direction, Mood, Outcome, Phone, Stage, call_actions, fold, phone_actions, replay
from sipmikey.phone.calls import Hold
from sipmikey.phone.fold import contact_document, history_document
from sipmikey.phone.plain import lines
from sipmikey.phone.possible import Action, may
from sipmikey.phone.shown import account_line, call_title, message_line
from tests.phone.documents import (
    ALICE,
    BOB,
    CAROL,
    KMS,
    READY,
    documents,
    ended,
    event,
    incoming,
    outgoing,
    security,
)

Fields = dict[str, Any]
ONE = ("", "1")


def folded(*events: Fields) -> Phone:
    return replay([READY, *events])


def words(phone: Phone) -> tuple[str, str, str]:
    signalling, media, peer = phone.calls[ONE].facts
    return signalling.key, media.key, peer.key


# Any events


@settings(max_examples=60)
@given(st.lists(documents, max_size=30))
def test_no_events_make_the_fold_fail(events: list[Fields]) -> None:
    phone = replay(events)
    for call in phone.calls.values():
        assert all(str(fact.word) and str(fact.sentence) for fact in call.facts)
        assert len(call_actions(phone, call)) == len(Action) - len(phone_actions(phone, ""))
    for account in phone.accounts:
        phone_actions(phone, account)
    for notice in phone.notices:
        assert "\x1b" not in str(notice.text)


@settings(max_examples=60)
@given(st.lists(documents, max_size=30), st.integers(0, 30))
def test_a_replay_equals_what_was_shown_live(events: list[Fields], cut: int) -> None:
    live = Phone()
    for document in events:
        live = fold(live, document)
    assert replay(events) == live
    assert replay(events[cut:], replay(events[:cut])) == live


@settings(max_examples=60)
@given(st.lists(documents, max_size=30))
def test_only_what_the_agent_called_proven_is_shown_as_proven(events: list[Fields]) -> None:
    phone = Phone()
    for document in events:
        phone = fold(phone, document)
        for call in phone.calls.values():
            _, media, peer = call.facts
            if media.mood is Mood.GOOD:
                assert call.security["media"] == "proven"
                assert call.security["keying"] == "mikey-ticket"
                assert call.live
                assert call.trouble == ""
            if peer.mood is Mood.GOOD:
                assert call.security["peer"]
                assert call.security["kms"]
            if call.protected:
                assert media.key == "PROVEN"
                assert peer.key == "VOUCHED FOR"


@settings(max_examples=60)
@given(st.lists(documents, max_size=20))
def test_history_stands_for_every_call_that_ended(events: list[Fields]) -> None:
    phone = replay(documents_without_history(events))
    over = [call for call in phone.calls.values() if not call.live]
    assert len(phone.history) >= len(over)
    again = replay(history_document(entry) for entry in reversed(phone.history))
    assert {entry.party for entry in again.history} == {entry.party for entry in phone.history}


def documents_without_history(events: list[Fields]) -> list[Fields]:
    return [one for one in events if not one["type"].startswith("history.")]


# Calls


def test_a_call_that_is_answered_and_proven() -> None:
    events = outgoing()
    stages = [folded(*events[:count]).calls[ONE].stage for count in range(1, 5)]
    assert stages == [Stage.CALLING, Stage.RINGING, Stage.TALKING, Stage.TALKING]
    assert words(folded(*events[:1]))[2] == "NOBODY YET"
    assert words(folded(*events[:3])) == ("TLS", "NOT PROVEN YET", "VOUCHED FOR")
    assert words(folded(*events)) == ("TLS", "PROVEN", "VOUCHED FOR")
    assert not folded(*events[:3]).calls[ONE].protected
    assert folded(*events).calls[ONE].protected


def test_the_caller_is_known_before_the_call_is_answered() -> None:
    events = incoming()
    early = folded(events[0])
    assert early.incoming == ()
    assert words(early)[2] == "CHECKING"
    assert BOB in str(early.calls[ONE].facts[2].sentence)
    assert "claims" in str(early.calls[ONE].facts[2].sentence)
    rings = folded(*events)
    assert [call.number for call in rings.incoming] == ["1"]
    assert words(rings)[2] == "VOUCHED FOR"
    assert KMS in str(rings.calls[ONE].facts[2].sentence)


def test_a_caller_in_clear_is_said_to_be_a_claim() -> None:
    facts = security(media="off", peer=None, kms=None, keying=None)
    rings = event("call.rings", caller=BOB, called=ALICE, security=facts)
    phone = folded(incoming()[0], rings)
    assert words(phone) == ("TLS", "IN CLEAR", "NOT VOUCHED FOR")
    assert [fact.mood for fact in phone.calls[ONE].facts[1:]] == [Mood.BAD, Mood.BAD]


def test_who_answers_instead_is_told() -> None:
    phone = folded(*outgoing(peer=CAROL))
    assert words(phone)[2] == "SOMEBODY ELSE"
    assert not phone.calls[ONE].protected
    sentence = str(phone.calls[ONE].facts[2].sentence)
    assert BOB in sentence
    assert CAROL in sentence


@pytest.mark.parametrize(
    ("later", "word"),
    [
        (event("media.failed", index=0), "FAILING"),
        (event("media.expired", index=0), "KEYS EXPIRED"),
        (event("media.stalled", index=0), "SILENT"),
        (event("call.state", state="keyed", security=security(media="keyed")), "NOT PROVEN YET"),
        (event("call.state", state="held", security=security(media="held")), "WAITING FOR KEYS"),
        (event("call.state", state="off", security=security(media="off")), "IN CLEAR"),
        (event("call.state", state="proven", security=security(keying="sdes")), "NOT END TO END"),
        (event("call.state", state="proven", security={"media": "proven"}), "NOT PROVEN YET"),
        (event("call.state", state="proven", security={}), "UNKNOWN"),
    ],
)
def test_proven_turns_back(later: Fields, word: str) -> None:
    phone = folded(*outgoing(), later)
    assert words(phone)[1] == word
    assert not phone.calls[ONE].protected


def test_what_stalled_is_proven_again_when_packets_come_back() -> None:
    phone = folded(*outgoing(), event("media.stalled", index=0), event("media.resumed", index=0))
    assert words(phone)[1] == "PROVEN"
    failed = folded(*outgoing(), event("media.failed", index=0), event("media.resumed", index=0))
    assert words(failed)[1] == "PROVEN"
    expired = folded(*outgoing(), event("media.expired", index=0), event("media.resumed", index=0))
    assert words(expired)[1] == "KEYS EXPIRED"


def test_hold_of_each_side() -> None:
    def hold(word: str) -> Hold:
        return folded(*outgoing(), event("call.state", state=word, security=security())).calls[ONE].hold

    assert [hold(word) for word in ("holding", "held", "silent", "talking")] == [
        Hold.OURS, Hold.THEIRS, Hold.BOTH, Hold.NONE,
    ]  # fmt: skip


def test_no_keys_is_not_taken_for_hold() -> None:
    phone = folded(*outgoing(), event("call.state", state="held", security=security(media="held")))
    assert phone.calls[ONE].hold is Hold.NONE


def test_an_ended_call_is_neither_good_nor_bad_any_more() -> None:
    phone = folded(*outgoing(), ended())
    assert [fact.mood for fact in phone.calls[ONE].facts] == [Mood.PAST] * 3
    assert not phone.calls[ONE].protected
    assert phone.live == ()


# History


def test_history_keeps_the_facts_as_they_were() -> None:
    (entry,) = folded(*outgoing(), ended()).history
    assert (entry.outcome, entry.media, entry.who, entry.peer, entry.kms) == (
        Outcome.ANSWERED, "PROVEN", "VOUCHED FOR", BOB, KMS,
    )  # fmt: skip
    assert entry.proven
    assert entry.duration_s == 58.0
    assert entry.ticket == "3a9cd2f1"


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("cancelled", Outcome.MISSED),
        ("answered-elsewhere", Outcome.ELSEWHERE),
        ("declined", Outcome.MISSED),
        ("auth-failure", Outcome.FAILED),
    ],
)
def test_what_became_of_an_incoming_call(reason: str, outcome: Outcome) -> None:
    phone = folded(*incoming(), ended(reason=reason, media="held"))
    assert phone.history[0].outcome is outcome
    assert phone.history[0].direction is Direction.IN
    assert phone.missed == (outcome is Outcome.MISSED)


def test_what_the_user_declined_is_not_missed() -> None:
    declined = [*incoming(), event("call.declining", by="user"), ended(reason="declined")]
    assert folded(*declined).history[0].outcome is Outcome.DECLINED
    kept_away = [incoming()[0], event("call.declining", by="do-not-disturb"), ended(reason="declined")]
    assert folded(*kept_away).missed == 1


def test_missed_calls_are_counted_until_they_are_looked_at() -> None:
    calls = [*incoming("1"), ended("1", reason="cancelled"), *incoming("2"), ended("2", reason="cancelled")]
    assert folded(*calls).missed == 2
    looked = folded(*calls, event("history.looked-at", ""))
    assert looked.missed == 0
    assert len(looked.history) == 2


def test_a_call_that_failed_before_its_invite_is_in_the_history() -> None:
    facts = security(media="held", peer=None, kms=None)
    (entry,) = folded(ended(reason="kms-unreachable", **facts)).history
    assert (entry.party, entry.outcome, entry.proven) == (BOB, Outcome.FAILED, False)


@pytest.mark.parametrize(
    ("contact", "said"),
    [
        ("sip:bob@0.0.0.0:5070", "port 5070 of this machine"),
        ("sip:bob@[::]:5070;transport=tcp", "port 5070 of this machine"),
        ("sip:bob@192.0.2.20:5070", "sip:bob@192.0.2.20:5070"),
    ],
)
def test_an_address_that_nobody_can_call_is_not_told(contact: str, said: str) -> None:
    assert str(folded(READY | {"contact": contact}).accounts[""].place) == said


# Contacts


def test_a_contact_remembers_the_kms_and_warns_of_another() -> None:
    bob = event("contact.saved", "", identity=BOB, name="Bob")
    phone = folded(bob, *outgoing(), ended())
    (contact,) = phone.contacts
    assert (contact.kms, contact.media, contact.seen) == (KMS, "PROVEN", 1060.0)
    again = replay(outgoing("2", kms="sip:kms@evil.example"), phone)
    warning = again.calls[("", "2")].warning
    assert warning is not None
    assert "sip:kms@evil.example" in str(warning)
    assert "Bob" in str(warning)
    assert replay(outgoing("2"), phone).calls[("", "2")].warning is None


def test_a_contact_warns_when_calls_were_protected_and_are_not() -> None:
    bob = event("contact.saved", "", identity=BOB, name="Bob", media="PROVEN", kms=KMS)
    phone = folded(bob, *outgoing(media="off", peer=None, kms=None, keying=None))
    assert "not" in str(phone.calls[ONE].warning)


def test_contacts_survive_as_documents() -> None:
    phone = folded(event("contact.saved", "", identity=BOB, name="Bob", numbers=["tel:+4670123"]))
    again = replay(contact_document(contact) for contact in phone.contacts)
    assert again.contacts == phone.contacts
    assert replay([event("contact.removed", "", identity=BOB)], phone).contacts == ()


# The engine


def test_the_end_of_the_engine_ends_its_calls_and_is_told() -> None:
    phone = folded(*outgoing(), event("engine.down", "", at=1010.0, detail="signal 6"))
    assert phone.live == ()
    assert not phone.accounts[""].engine
    assert phone.accounts[""].engine_ends == 1
    assert any("Bob" in str(n.text) or BOB in str(n.text) for n in phone.notices)
    assert phone.history[0].reason == "internal-error"
    back = replay([READY, *outgoing("1", at=1020.0)], phone)
    assert back.accounts[""].engine
    assert [call.number for call in back.live] == ["1"]


def test_engines_of_other_accounts_keep_their_calls() -> None:
    other = [one | {"account": "work"} for one in (READY, *outgoing())]
    phone = replay([*other, event("engine.down", "", detail="signal 6")], folded(*outgoing()))
    assert [call.key for call in phone.live] == [("work", "1")]


# What may be done


def test_what_may_be_done_depends_on_the_state_and_the_rest_says_why_not() -> None:
    rings = folded(*incoming())
    call = rings.calls[ONE]
    assert may(rings, call, Action.ANSWER)
    assert not may(rings, call, Action.HOLD)
    talking = folded(*outgoing())
    call = talking.calls[ONE]
    assert may(talking, call, Action.HOLD)
    assert may(talking, call, Action.MUTE)
    assert not may(talking, call, Action.VOLUME)
    assert not may(talking, call, Action.ANSWER)
    assert not may(talking, call, Action.TRANSFER_TO)
    for possible in call_actions(talking, call).values():
        assert possible.may or str(possible.why_not)


def test_new_keys_only_for_calls_keyed_by_a_ticket() -> None:
    phone = folded(*outgoing(keying="sdes", peer=None, kms=None))
    assert not may(phone, phone.calls[ONE], Action.REKEY)
    assert may(folded(*outgoing()), folded(*outgoing()).calls[ONE], Action.REKEY)


def test_a_fifth_call_is_refused_with_a_reason() -> None:
    events = [one for number in "1234" for one in outgoing(number)]
    dial = phone_actions(folded(*events), "")[Action.DIAL]
    assert not dial.may
    assert "four" in str(dial.why_not)
    assert phone_actions(folded(*outgoing()), "")[Action.DIAL].may


def test_a_call_is_told_once_it_is_known_whom_it_is_for() -> None:
    """Its ticket may be asked for before the INVITE names anybody."""
    asked = event("kms.request", exchange="ticket-request", kms=KMS, size=275)
    states = [folded(), folded(asked), folded(asked, outgoing()[0])]
    told = [str(line.text) for one, next_ in itertools.pairwise(states) for line in lines(one, next_)]
    assert told == [f"Calling {BOB}."]


# Questions


def test_a_question_waits_until_it_is_decided_or_its_call_ends() -> None:
    asked = event("policy.question", peer=CAROL, called=BOB, kms=KMS, wait_s=30.0)
    phone = folded(*outgoing()[:2], asked)
    (question,) = phone.questions
    assert question.until == 1030.0
    assert KMS in str(question.text)
    assert replay([event("policy.decided", accepted=False)], phone).questions == ()
    assert replay([ended(reason="policy")], phone).questions == ()


def test_messages_that_wait_are_counted_and_told() -> None:
    before = folded()
    phone = fold(before, event("message.waiting", "", 1001.0, box=ALICE, waiting=True, new=2, old=1))
    account = phone.accounts[""]
    assert (account.messages_new, account.messages_old) == (2, 1)
    assert [str(line.text) for line in lines(before, phone)] == ["2 messages were left for you."]
    assert account_line(account, str).endswith(", messages: 2")
    heard = fold(phone, event("message.waiting", "", 1002.0, box=ALICE, waiting=False, new=0, old=3))
    assert (heard.accounts[""].messages_new, list(lines(phone, heard))) == (0, [])


def test_what_is_in_the_box_is_listed_the_newest_first() -> None:
    def kept(name: str, at: float, **more: object) -> Fields:
        return {"message": name, "says_from": BOB, "left_at": at, "duration_s": 5.0, "heard": False, **more}

    one = kept("a", 10.0, heard=True, expired=True)
    phone = folded(event("messages.listed", "", 1001.0, messages=[one, kept("b", 20.0), "no message"]))
    assert [(message.identifier, message.heard) for message in phone.messages] == [("b", False), ("a", True)]
    assert message_line(phone.messages[0], phone, str) == f"● 0:05 says it is from {BOB}"
    assert message_line(phone.messages[1], phone, str).endswith("nobody can open it")
    assert fold(phone, event("messages.listed", "", 1002.0, messages=[])).messages == ()


def test_who_left_a_message_is_vouched_for_once_it_is_heard() -> None:
    kept = {"message": "a", "says_from": CAROL, "left_at": 10.0, "duration_s": 5.0, "heard": False}
    listed = event("messages.listed", "", 1001.0, messages=[kept])
    playing = fold(folded(listed), event("message.playing", "", 1002.0, message="a", **{"from": BOB}))
    assert message_line(playing.messages[0], playing, str) == f"▶ 0:05 from {BOB}"
    over = fold(playing, event("message.played", "", 1003.0, message="a", stopped=True, **{"from": BOB}))
    heard = fold(over, event("messages.listed", "", 1003.0, messages=[kept | {"heard": True}]))
    assert message_line(heard.messages[0], heard, str) == f"○ 0:05 from {BOB}"
    for end in (
        event("message.refused", "", 1003.0, message="a", reason="no-sound-device", detail="no speaker"),
        event("engine.down", "", 1003.0, detail="exit code 1"),
    ):
        assert not fold(playing, end).messages[0].playing


# What a caller calls itself


def named(name: str, *after: Fields) -> Phone:
    ring = incoming()
    return folded(ring[0] | {"display_name": name}, *ring[1:], *after)


def test_the_name_of_a_caller_is_beside_its_address_and_told_apart_from_what_is_vouched_for() -> None:
    phone = named("Bob Builder")
    call = phone.calls[ONE]
    assert call_title(call, phone, str) == f'{BOB} (calls itself "Bob Builder"): calls you'
    peer = call.facts[2]
    assert peer.key == "VOUCHED FOR"
    assert str(peer.sentence) == (
        f'{KMS} vouches that this is {BOB}. It calls itself "Bob Builder": nobody vouches for that name.'
    )


def test_a_call_that_nobody_vouches_for_is_not_known_by_its_name() -> None:
    phone = folded(event("call.in", caller=CAROL, called=ALICE, sip_call_id="x", display_name="Bob"))
    call = phone.calls[ONE]
    assert call.name == CAROL
    assert call_title(call, phone, str).startswith(f'{CAROL} (calls itself "Bob")')
    assert phone.history == ()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('x") PROVEN. (calls itself "y', "x') PROVEN. (calls itself 'y"),
        ("a\n\r\tb\x1b[2J", "a???b?[2J"),
        ("<b>Bob</b> &amp;", "(b)Bob(/b) +amp;"),
        ("\u202eevil", "?evil"),
        ("  much   room ", "much room"),
        ("w" * 200, "w" * 40 + "…"),
        ("{name} {says}", "{name} {says}"),
        ("", ""),
    ],
)
def test_the_name_of_a_caller_cannot_pass_for_words_of_ours(name: str, shown: str) -> None:
    phone = named(name)
    assert phone.calls[ONE].says == shown
    title = call_title(phone.calls[ONE], phone, str)
    assert title == (f'{BOB} (calls itself "{shown}"): calls you' if shown else f"{BOB}: calls you")


def test_another_address_and_a_peer_that_does_not_follow_are_told() -> None:
    moved = event("network.changed", "", cause="address", before="192.0.2.7", now="198.51.100.9")
    phone = replay([READY, *outgoing(), moved, event("call.moved", moved=True, detail="")])
    assert "198.51.100.9" in str(phone.notices[-1].text)
    assert not phone.notices[-1].bad
    left = event("call.moved", moved=False, detail="no answer", cause="address")
    phone = replay([left], phone)
    assert phone.notices[-1].bad
    assert BOB in str(phone.notices[-1].text)


def test_a_failed_search_for_another_way_tells_what_to_do_and_blames_no_new_address() -> None:
    unrepaired = event("call.moved", moved=False, detail="488 Not Acceptable Here", cause="stalled")
    phone = replay([READY, *outgoing(), unrepaired])
    told = str(phone.notices[-1].text)
    assert phone.notices[-1].bad
    assert BOB in told
    assert "488 Not Acceptable Here" in told
    assert "Call again" in told
    assert "address" not in told


def test_a_sound_device_that_cannot_be_used_is_told_at_once() -> None:
    detail = "no device has 'nosuch' in the name; input devices: built-in"
    failed = event("sound.device", "", 1001.0, role="input", state="failed", name="nosuch", detail=detail)
    phone = folded(failed)
    assert [(str(one.text), one.bad) for one in phone.notices] == [(detail, True)]
    assert (
        folded(event("sound.device", "", 1001.0, role="input", state="open", name="built-in")).notices == ()
    )
