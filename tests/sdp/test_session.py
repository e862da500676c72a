"""Re-INVITE and UPDATE within an established session."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.sdp import (
    AnswerMissing,
    Direction,
    Glare,
    KeyMgmtMissing,
    MediaMismatch,
    MediaNotSecured,
    OfferMissing,
    SentSdpAltered,
    Session,
    SessionKeys,
)
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO
from tests.sdp.parties import Parties, World, assert_mirrored, grant

BOTH_GIVE_KEYS = TicketFlags.of("DEFGHILMNO")
HELD = AUDIO.replace("a=sendrecv", "a=sendonly")
HOLDING = AUDIO.replace("a=sendrecv", "a=recvonly")


@dataclass
class Call:
    """An established call; ``caller`` and ``callee`` are its two sessions."""

    parties: Parties
    caller: Session
    callee: Session

    @classmethod
    def make(cls, sdp: str = AUDIO, flags: TicketFlags = BOTH_GIVE_KEYS, seed: str = "seed") -> Call:
        parties = Parties(World(seed))
        offerer = parties.offerer(grant(parties.world, parties.kms, flags=flags))
        answerer, answer, _ = parties.respond(offerer.make_offer(sdp), sdp=sdp)
        offerer.receive_answer("tag", answer)
        return cls(parties, offerer.choose("tag"), answerer.session)

    def sides(self, caller_offers: bool) -> tuple[Session, Session]:
        return (self.caller, self.callee) if caller_offers else (self.callee, self.caller)


def exchange(
    one: Session, other: Session, offer_sdp: str = AUDIO, answer_sdp: str = AUDIO, *, rekey: bool = False
) -> tuple[SessionKeys, SessionKeys, bool]:
    """Let *one* offer and *other* answer."""
    offer = one.make_offer(offer_sdp, rekey=rekey)
    one.check_sent(offer)
    changes = other.receive_offer(offer)
    answer, theirs = other.make_answer(answer_sdp)
    other.check_sent(answer)
    return one.receive_answer(answer), theirs, changes


def keys(keyed: SessionKeys) -> set[str]:
    """Fingerprints of every master key."""
    return {
        session.master_key.fingerprint() for media in keyed.media for session in (media.send, media.receive)
    }


both = pytest.mark.parametrize("caller_offers", [True, False], ids=["caller offers", "callee offers"])


@both
def test_a_refresh_changes_no_key(caller_offers: bool) -> None:
    call = Call.make()
    one, other = call.sides(caller_offers)
    before = keys(one.keys)
    for _ in range(3):
        mine, theirs, changes = exchange(one, other)
        assert (changes, mine.changed, theirs.changed) == (False, False, False)
        assert keys(mine) == keys(theirs) == before
        assert_mirrored(mine, theirs)


def test_a_refresh_of_the_caller_is_its_first_offer_again() -> None:
    parties = Parties()
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO)
    answerer, answer, _ = parties.respond(offer)
    offerer.receive_answer("tag", answer)
    session = offerer.choose("tag")
    assert session.make_offer(AUDIO) == offer
    assert not answerer.session.receive_offer(offer)
    assert answerer.session.make_answer(AUDIO)[0] == answer


@both
def test_hold_and_resume_change_no_key(caller_offers: bool) -> None:
    one, other = Call.make().sides(caller_offers)
    before = keys(one.keys)
    mine, theirs, changes = exchange(one, other, HELD, HOLDING)
    assert (mine.media[0].direction, theirs.media[0].direction) == (Direction.SENDONLY, Direction.RECVONLY)
    assert (changes, mine.changed, theirs.changed) == (False, False, False)
    mine, theirs, _ = exchange(one, other)
    assert mine.media[0].direction is Direction.SENDRECV
    assert keys(mine) == keys(theirs) == before


def test_a_refresh_without_the_attribute_is_accepted() -> None:
    call = Call.make()
    before = keys(call.callee.keys)
    assert not call.callee.receive_offer(AUDIO.replace("RTP/AVP", "RTP/SAVP"))
    _, keyed = call.callee.make_answer(AUDIO)
    assert not keyed.changed
    assert keys(keyed) == before
    call.caller.make_offer(AUDIO)
    assert not call.caller.receive_answer(AUDIO.replace("RTP/AVP", "RTP/SAVP")).changed


@both
def test_a_rekey_changes_every_key(caller_offers: bool) -> None:
    call = Call.make(AUDIO_VIDEO)
    one, other = call.sides(caller_offers)
    seen = keys(one.keys)
    for number in (1, 2):
        mine, theirs, changes = exchange(one, other, AUDIO_VIDEO, AUDIO_VIDEO, rekey=True)
        assert changes
        assert mine.changed
        assert theirs.changed
        assert_mirrored(mine, theirs)
        assert not keys(mine) & seen
        seen |= keys(mine)
        assert len(seen) == 4 * (number + 1)
        assert [m.send.ssrc for m in mine.media] == [m.send.ssrc for m in one.keys.media]
    assert not exchange(one, other, AUDIO_VIDEO, AUDIO_VIDEO)[0].changed


def test_either_side_may_rekey_in_turn() -> None:
    call = Call.make()
    seen = [keys(call.caller.keys)]
    for caller_offers in (True, False, False, True):
        mine, theirs, _ = exchange(*call.sides(caller_offers), rekey=True)
        assert_mirrored(mine, theirs)
        assert all(keys(mine).isdisjoint(old) for old in seen)
        seen.append(keys(mine))


@both
def test_a_ticket_may_forbid_a_side_to_rekey(caller_offers: bool) -> None:
    one, _ = Call.make(flags=TicketFlags.of("DEFGHINO")).sides(caller_offers)
    with pytest.raises(LocalError, match="L is 0" if caller_offers else "M is 0"):
        one.make_offer(AUDIO, rekey=True)
    assert one.make_offer(AUDIO).count("a=key-mgmt") == 1


@both
@pytest.mark.parametrize("flags", ["DEFGHINO", "DEFGHILMNO"])
def test_an_added_stream_gets_keys_and_the_other_keeps_its_own(caller_offers: bool, flags: str) -> None:
    one, other = Call.make(flags=TicketFlags.of(flags)).sides(caller_offers)
    before = one.keys.media[0]
    mine, theirs, changes = exchange(one, other, AUDIO_VIDEO, AUDIO_VIDEO)
    assert changes
    assert mine.changed
    assert_mirrored(mine, theirs)
    assert (mine.media[0].send, mine.media[0].receive) == (before.send, before.receive)
    assert {mine.media[1].send.cs_id, mine.media[1].receive.cs_id} == {3, 4}
    assert len(keys(mine)) == 4


def test_an_added_stream_and_a_rekey_at_once() -> None:
    call = Call.make()
    before = keys(call.caller.keys)
    mine, theirs, _ = exchange(call.caller, call.callee, AUDIO_VIDEO, AUDIO_VIDEO, rekey=True)
    assert_mirrored(mine, theirs)
    assert len(keys(mine)) == 4
    assert keys(mine).isdisjoint(before)


def test_an_added_stream_may_be_rejected() -> None:
    call = Call.make()
    rejecting = AUDIO_VIDEO.replace("video 4002/2", "video 0")
    mine, theirs, _ = exchange(call.caller, call.callee, AUDIO_VIDEO, rejecting)
    assert [m.index for m in mine.media] == [m.index for m in theirs.media] == [0]


@both
def test_a_stream_enabled_again_has_other_ssrcs(caller_offers: bool) -> None:
    """Its packet counters restart: the old key with the old SSRC would reuse key stream."""
    call = Call.make(AUDIO_VIDEO)
    one, other = call.sides(caller_offers)
    before = one.keys.media[1]
    without = AUDIO_VIDEO.replace("video 4002/2", "video 0")
    mine, _, changes = exchange(one, other, without, without)
    assert not changes
    assert [m.index for m in mine.media] == [0]
    mine, theirs, changes = exchange(one, other, AUDIO_VIDEO, AUDIO_VIDEO)
    assert changes
    assert_mirrored(mine, theirs)
    assert mine.media[1].send.ssrc != before.send.ssrc
    assert mine.media[1].receive.ssrc != before.receive.ssrc
    assert mine.media[0].send == one.keys.media[0].send


def test_a_stream_enabled_again_without_an_update_is_refused() -> None:
    call = Call.make(AUDIO_VIDEO)
    offer = call.caller.make_offer(AUDIO_VIDEO)
    call.caller.abandon()
    without = AUDIO_VIDEO.replace("video 4002/2", "video 0")
    exchange(call.caller, call.callee, without, without)
    with pytest.raises(KeyMgmtMissing):
        call.callee.receive_offer(offer)


def at_media_level(sdp: str) -> str:
    """A description as a peer would write it that puts its attribute at every m-line."""
    if "a=key-mgmt" not in sdp.partition("m=")[0]:
        return sdp
    (line,) = [line for line in sdp.splitlines(keepends=True) if line.startswith("a=key-mgmt")]
    return sdp.replace(line, "").replace("a=mid:", f"{line}a=mid:")


@pytest.mark.parametrize("caller_offers", [True, False])
@pytest.mark.parametrize("rekey", [True, False])
def test_a_peer_that_keeps_to_media_level(caller_offers: bool, rekey: bool) -> None:
    parties = Parties()
    offerer = parties.offerer(grant(parties.world, parties.kms, flags=BOTH_GIVE_KEYS))
    answerer, answer, _ = parties.respond(at_media_level(offerer.make_offer(AUDIO)))
    offerer.receive_answer("tag", answer)
    sides = (offerer.choose("tag"), answerer.session)
    one, other = sides if caller_offers else sides[::-1]
    for sdp in (AUDIO, AUDIO_VIDEO):
        before = keys(one.keys)
        other.receive_offer(at_media_level(one.make_offer(sdp, rekey=rekey)))
        text, theirs = other.make_answer(sdp)
        if caller_offers:
            assert "key-mgmt" not in text.partition("m=")[0]
        mine = one.receive_answer(text)
        assert_mirrored(mine, theirs)
        assert len(mine.media) == sdp.count("m=")
        assert bool(keys(mine) & before) is not rekey


def test_streams_keyed_each_by_itself_are_updated_by_the_side_that_did_so() -> None:
    parties = Parties()
    ticket = grant(parties.world, parties.kms, flags=BOTH_GIVE_KEYS)
    offers = [parties.offerer(ticket).make_offer(AUDIO_VIDEO) for _ in range(2)]
    lines = [next(line for line in sdp.split("\r\n") if "key-mgmt" in line) for sdp in offers]
    offer = offers[0].replace("a=mid:v", f"{lines[1]}\r\na=mid:v")
    answerer, answer, keyed = parties.respond(offer, sdp=AUDIO_VIDEO)
    assert not answerer.session.receive_offer(offer)
    again, refreshed = answerer.session.make_answer(AUDIO_VIDEO)
    assert (again, refreshed.changed) == (answer, False)
    assert refreshed.media == keyed.media
    with pytest.raises(LocalError, match="each stream by itself"):
        answerer.session.make_offer(AUDIO_VIDEO, rekey=True)


def mutated(text: str, data: st.DataObject) -> str:
    """A text with a piece of it replaced."""
    at = data.draw(st.integers(0, len(text)))
    return text[:at] + data.draw(st.text(max_size=8)) + text[at + data.draw(st.integers(0, 40)) :]


class TestRefusals:
    """What must not change the keys."""

    def test_a_stripped_update_is_noticed_by_who_sent_it(self) -> None:
        call = Call.make()
        offer = call.caller.make_offer(AUDIO, rekey=True)
        before = keys(call.caller.keys)
        stripped = "\r\n".join(line for line in offer.split("\r\n") if "key-mgmt" not in line)
        assert not call.callee.receive_offer(stripped)
        answer, _ = call.callee.make_answer(AUDIO)
        with pytest.raises(PeerError):
            call.caller.receive_answer(answer)
        assert keys(call.caller.keys) == before

    def test_a_stripped_answer_is_refused(self) -> None:
        call = Call.make()
        call.callee.receive_offer(call.caller.make_offer(AUDIO, rekey=True))
        call.callee.make_answer(AUDIO)
        with pytest.raises(KeyMgmtMissing):
            call.caller.receive_answer(AUDIO.replace("RTP/AVP", "RTP/SAVP"))

    def test_a_replayed_update_is_refused(self) -> None:
        call = Call.make()
        first = call.caller.make_offer(AUDIO, rekey=True)
        call.callee.receive_offer(first)
        call.caller.receive_answer(call.callee.make_answer(AUDIO)[0])
        exchange(call.caller, call.callee, rekey=True)
        after = keys(call.callee.keys)
        with pytest.raises(PeerError):
            call.callee.receive_offer(first)
        assert keys(call.callee.keys) == after

    def test_an_update_of_another_call_is_refused(self) -> None:
        offer = Call.make(seed="another").caller.make_offer(AUDIO, rekey=True)
        with pytest.raises(PeerError):
            Call.make().callee.receive_offer(offer)

    def test_every_octet_of_an_update_is_protected(self) -> None:
        call = Call.make()
        offer = call.caller.make_offer(AUDIO, rekey=True)
        at = offer.index("mikey ") + len("mikey ")
        end = offer.index("\r\n", at)
        for place in range(at, end - 2):
            other = "A" if offer[place] != "A" else "B"
            with pytest.raises(PeerError):
                call.callee.receive_offer(offer[:place] + other + offer[place + 1 :])
        assert call.callee.receive_offer(offer)

    @settings(max_examples=100)
    @given(st.data())
    def test_mutated_descriptions_raise_nothing_but_peer_errors(self, data: st.DataObject) -> None:
        call = Call.make()
        rekey = data.draw(st.booleans())
        offer = call.caller.make_offer(AUDIO, rekey=rekey)
        with contextlib.suppress(PeerError):
            call.callee.receive_offer(mutated(offer, data))
        call.callee.receive_offer(offer)
        answer, theirs = call.callee.make_answer(AUDIO)
        with contextlib.suppress(PeerError):
            keyed = call.caller.receive_answer(mutated(answer, data))
            assert [m.receive for m in keyed.media] == [m.send for m in theirs.media]

    @pytest.mark.parametrize(
        ("offer", "error"),
        [
            (AUDIO, MediaNotSecured),
            (AUDIO.replace("RTP/AVP", "RTP/SAVP") + "m=video 6 RTP/AVP 31\r\n", MediaNotSecured),
            (AUDIO.replace("RTP/AVP", "RTP/SAVP") + "m=video 6 RTP/SAVP 31\r\n", KeyMgmtMissing),
            (AUDIO.split("m=")[0], MediaMismatch),
            (None, OfferMissing),
        ],
    )
    def test_an_offer_that_would_weaken_the_call(self, offer: str | None, error: type[PeerError]) -> None:
        call = Call.make()
        with pytest.raises(error):
            call.callee.receive_offer(offer)
        assert not exchange(call.caller, call.callee)[0].changed

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (AUDIO, MediaNotSecured),
            (AUDIO.replace("RTP/AVP", "RTP/SAVP").replace("audio 4000", "audio 0"), MediaNotSecured),
            (None, AnswerMissing),
        ],
    )
    def test_an_answer_that_would_weaken_the_call(self, answer: str | None, error: type[PeerError]) -> None:
        call = Call.make()
        call.caller.make_offer(AUDIO)
        with pytest.raises(error):
            call.caller.receive_answer(answer)
        assert not exchange(call.caller, call.callee)[0].changed

    def test_an_answer_that_changes_keys_unasked_is_refused(self) -> None:
        call = Call.make()
        call.callee.receive_offer(call.caller.make_offer(AUDIO, rekey=True))
        answer, _ = call.callee.make_answer(AUDIO)
        call.caller.abandon()
        call.caller.make_offer(AUDIO)
        with pytest.raises(PeerError, match="although the offer did not"):
            call.caller.receive_answer(answer)

    def test_a_new_transfer_within_the_session_is_refused(self) -> None:
        call = Call.make()
        with pytest.raises(PeerError):
            call.callee.receive_offer(call.parties.offerer().make_offer(AUDIO))


class TestOrder:
    """Glare, abandoning, closing."""

    def test_glare(self) -> None:
        call = Call.make()
        ours, theirs = call.caller.make_offer(AUDIO, rekey=True), call.callee.make_offer(AUDIO, rekey=True)
        for session, offer in ((call.caller, theirs), (call.callee, ours)):
            with pytest.raises(Glare) as caught:
                session.receive_offer(offer)
            assert caught.value.sip_status == 491
            session.abandon()
        assert_mirrored(*exchange(call.caller, call.callee, rekey=True)[:2])

    @both
    def test_an_abandoned_offer_leaves_the_keys(self, caller_offers: bool) -> None:
        one, other = Call.make().sides(caller_offers)
        before = keys(one.keys)
        other.receive_offer(one.make_offer(AUDIO, rekey=True))
        one.abandon()
        other.abandon()
        assert keys(one.keys) == keys(other.keys) == before
        mine, theirs, _ = exchange(one, other, rekey=True)
        assert_mirrored(mine, theirs)

    def test_an_offer_that_was_never_answered_blocks_nothing(self) -> None:
        """The stack itself refused it, or the peer took it back."""
        call = Call.make()
        unanswered = call.caller.make_offer(AUDIO, rekey=True)
        call.callee.receive_offer(unanswered)
        call.caller.abandon()
        assert_mirrored(*exchange(call.caller, call.callee, rekey=True)[:2])
        call.callee.receive_offer(call.caller.make_offer(AUDIO, rekey=True))
        call.caller.abandon()
        call.callee.make_offer(AUDIO)
        with pytest.raises(LocalError, match="no offer of the peer"):
            call.callee.make_answer(AUDIO)
        call.callee.abandon()
        assert_mirrored(*exchange(call.callee, call.caller, rekey=True)[:2])

    def test_steps_out_of_order_are_the_callers_mistake(self) -> None:
        call = Call.make()
        with pytest.raises(LocalError):
            call.caller.receive_answer(AUDIO)
        with pytest.raises(LocalError):
            call.caller.make_answer(AUDIO)
        call.caller.make_offer(AUDIO)
        with pytest.raises(LocalError, match="under way"):
            call.caller.make_offer(AUDIO)

    def test_what_was_sent_is_checked(self) -> None:
        call = Call.make()
        call.caller.make_offer(AUDIO, rekey=True)
        with pytest.raises(SentSdpAltered):
            call.caller.check_sent(AUDIO)

    def test_a_closed_session_has_no_keys(self) -> None:
        call = Call.make()
        call.caller.close()
        assert call.caller.keys.media == ()
        with pytest.raises(LocalError, match="closed"):
            call.caller.make_offer(AUDIO)
