"""Whole offer/answer exchanges, with a KMS in memory."""

from __future__ import annotations

import pytest
from hypothesis import given

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.errors import LimitExceeded, LocalError, PeerError, ReplayedMessage, UnexpectedMessage
from sipmikey.mikey.ticket import TicketFlag, TicketFlags
from sipmikey.sdp import Direction, IdentityMismatch, Offerer, SrtpSuite
from sipmikey.sdp.errors import ForkedWithoutKeys
from sipmikey.ticket import FULL_MODE, ReplayCache
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO, texts
from tests.sdp.parties import ALICE, BOB, CAROL, Parties, assert_mirrored, credential, grant


@pytest.fixture
def parties() -> Parties:
    return Parties()


def test_both_sides_have_the_same_keys(parties: Parties) -> None:
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO)
    answerer, answer, bobs = parties.respond(offer)
    offerer.check_sent(offer)
    answerer.check_sent(answer)
    alices = offerer.receive_answer("tag", answer)
    assert_mirrored(alices, bobs)
    assert (alices.peer, alices.called, bobs.peer) == (BOB, BOB, ALICE)
    assert alices.suite == bobs.suite == "AES_256_CM_HMAC_SHA1_80"
    assert alices.ticket_id == bobs.ticket_id
    (media,) = alices.media
    assert (media.index, media.mid, media.direction) == (0, "01", Direction.SENDRECV)
    assert (media.send.cs_id, media.receive.cs_id) == (1, 2)
    assert (len(media.send.master_key), len(media.send.master_salt)) == (32, 14)
    assert alices.changed
    assert bobs.changed


def test_only_the_profile_changes_and_one_line_is_added(parties: Parties) -> None:
    offer = parties.offerer().make_offer(AUDIO)
    lines = offer.split("\r\n")
    (added,) = [line for line in lines if line.startswith("a=key-mgmt:mikey AQ4F")]
    lines.remove(added)
    assert "\r\n".join(lines) == AUDIO.replace("RTP/AVP", "RTP/SAVP")


@given(texts())
def test_no_other_line_of_any_description_changes(text: str) -> None:
    try:
        offer = Parties().offerer(allow_other_media=True).make_offer(text)
    except LocalError:
        return
    before = text.split("\n")
    after = [line for line in offer.split("\n") if not line.startswith("a=key-mgmt:mikey ")]
    assert len(offer.split("\n")) == len(after) + 1
    for old, new in zip(before, after, strict=True):
        assert new == old or (old.startswith("m=") and new == old.replace("RTP/AVP", "RTP/SAVP"))


@pytest.mark.parametrize(
    ("suite", "srtp"),
    [
        (SUITE_256, SrtpSuite.AES_256_CM_HMAC_SHA1_80),
        (SUITE_256, SrtpSuite.AES_256_CM_HMAC_SHA1_32),
        (SUITE_256, SrtpSuite.AEAD_AES_256_GCM),
        (SUITE_128, SrtpSuite.AES_CM_128_HMAC_SHA1_80),
        (SUITE_128, SrtpSuite.AES_CM_128_HMAC_SHA1_32),
        (SUITE_128, SrtpSuite.AEAD_AES_128_GCM),
    ],
)
def test_every_suite(parties: Parties, suite: Suite, srtp: SrtpSuite) -> None:
    ticket = grant(parties.world, parties.kms, suite=suite)
    offerer = parties.offerer(ticket, suites=[srtp])
    offer = offerer.make_offer(AUDIO)
    answerer = parties.answerer(suites=[srtp.value])
    parties.take(answerer, offer)
    answer, bobs = answerer.make_answer(AUDIO)
    alices = offerer.receive_answer("tag", answer)
    assert_mirrored(alices, bobs)
    assert alices.suite == srtp
    policy = alices.media[0].send.policy
    assert policy == srtp.policy
    assert len(alices.media[0].send.master_key) == policy.session_encr_key_length
    assert len(alices.media[0].send.master_salt) == policy.session_salt_length


def test_the_first_suite_of_the_caller_that_the_callee_accepts(parties: Parties) -> None:
    offered = [
        SrtpSuite.AEAD_AES_256_GCM,
        SrtpSuite.AES_256_CM_HMAC_SHA1_80,
        SrtpSuite.AES_256_CM_HMAC_SHA1_32,
    ]
    offerer = parties.offerer(suites=offered)
    answerer = parties.answerer(suites=offered[:0:-1])
    taken = answerer.receive_offer(offerer.make_offer(AUDIO), sip_caller=ALICE)
    assert taken.suites == ("AES_256_CM_HMAC_SHA1_80",)


def test_what_is_known_before_the_kms_is_asked(parties: Parties) -> None:
    ticket = grant(parties.world, parties.kms)
    offered = parties.answerer().receive_offer(parties.offerer(ticket).make_offer(AUDIO), sip_caller=ALICE)
    assert (offered.caller, offered.called, offered.kms) == (ALICE, BOB, ticket.policy.kms)
    assert offered.ticket_id == ticket.ticket_id


def test_two_streams_have_four_crypto_sessions(parties: Parties) -> None:
    offerer = parties.offerer()
    _, answer, bobs = parties.respond(offerer.make_offer(AUDIO_VIDEO), sdp=AUDIO_VIDEO)
    alices = offerer.receive_answer("tag", answer)
    assert_mirrored(alices, bobs)
    assert [(m.send.cs_id, m.receive.cs_id) for m in alices.media] == [(1, 2), (3, 4)]
    assert len({m.send.master_key.fingerprint() for m in (*alices.media, *bobs.media)}) == 4
    assert alices.media[1].send.ssrc == 0xFFFFFFFF


def test_ssrcs_are_the_ones_given_or_described_or_drawn(parties: Parties) -> None:
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO_VIDEO, ssrcs={0: 7})
    answerer = parties.answerer()
    parties.take(answerer, offer)
    described = AUDIO_VIDEO.replace("a=mid:01", "a=mid:01\r\na=ssrc:99 cname:bob")
    _, bobs = answerer.make_answer(described, ssrcs={1: 0})
    assert [m.receive.ssrc for m in bobs.media] == [7, 0xFFFFFFFF]
    assert [m.send.ssrc for m in bobs.media] == [99, 0]


def test_a_direction_is_agreed_and_both_crypto_sessions_are_keyed(parties: Parties) -> None:
    offerer = parties.offerer()
    answer_sdp = AUDIO.replace("a=sendrecv", "a=recvonly")
    _, answer, bobs = parties.respond(offerer.make_offer(AUDIO), sdp=answer_sdp)
    alices = offerer.receive_answer("tag", answer)
    assert alices.media[0].direction is Direction.SENDONLY
    assert bobs.media[0].direction is Direction.RECVONLY
    assert_mirrored(alices, bobs)


def test_a_rejected_stream_has_no_keys(parties: Parties) -> None:
    offerer = parties.offerer()
    rejecting = AUDIO_VIDEO.replace("video 4002/2", "video 0")
    _, answer, bobs = parties.respond(offerer.make_offer(AUDIO_VIDEO), sdp=rejecting)
    alices = offerer.receive_answer("tag", answer)
    assert [m.index for m in alices.media] == [m.index for m in bobs.media] == [0]
    assert "m=video 0 RTP/SAVPF" in answer


def test_a_disabled_first_stream_keeps_its_place(parties: Parties) -> None:
    offerer = parties.offerer()
    text = AUDIO_VIDEO.replace("audio 4000", "audio 0")
    _, answer, bobs = parties.respond(offerer.make_offer(text), sdp=text)
    alices = offerer.receive_answer("tag", answer)
    assert [(m.index, m.send.cs_id) for m in alices.media] == [(1, 3)]
    assert_mirrored(alices, bobs)


def test_media_that_is_not_rtp_is_refused_unless_allowed(parties: Parties) -> None:
    text = AUDIO + "m=application 9 UDP/BFCP *\r\n"
    with pytest.raises(LocalError, match="UDP/BFCP"):
        parties.offerer().make_offer(text)
    offerer = parties.offerer(allow_other_media=True)
    offer = offerer.make_offer(text)
    with pytest.raises(LocalError, match="UDP/BFCP"):
        parties.respond(offer, sdp=text)
    _, answer, bobs = parties.respond(offer, sdp=text.replace("application 9", "application 0"))
    assert_mirrored(offerer.receive_answer("tag", answer), bobs)


def test_forked_branches_have_keys_of_their_own(parties: Parties) -> None:
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO)
    branches = {tag: parties.respond(offer) for tag in ("one", "two", "three")}
    keyed = {tag: offerer.receive_answer(tag, answer) for tag, (_, answer, _) in branches.items()}
    for tag, (_, _, theirs) in branches.items():
        assert_mirrored(keyed[tag], theirs)
    keys = [item.media[0].send.master_key.fingerprint() for item in keyed.values()]
    assert len(set(keys)) == 3
    assert set(offerer.candidates) == {"one", "two", "three"}
    session = offerer.choose("two")
    assert session.keys == keyed["two"]
    assert offerer.candidates == ()
    with pytest.raises(LocalError):
        offerer.receive_answer("four", branches["one"][1])


def test_a_branch_that_offers_before_it_is_chosen_changes_its_own_keys_only(parties: Parties) -> None:
    flags = TicketFlags.of("DEFGHILMNO")
    offerer = parties.offerer(grant(parties.world, parties.kms, flags=flags))
    offer = offerer.make_offer(AUDIO)
    devices = {tag: parties.respond(offer) for tag in ("a", "b")}
    first = {tag: offerer.receive_answer(tag, answer) for tag, (_, answer, _) in devices.items()}
    callee = devices["a"][0].session
    ours = offerer.session("a")
    assert ours.receive_offer(callee.make_offer(AUDIO, rekey=True))
    answer, changed = ours.make_answer(AUDIO)
    ours.check_sent(answer)
    assert_mirrored(changed, callee.receive_answer(answer))
    assert changed.media[0].send.master_key != first["a"].media[0].send.master_key
    # A bad one leaves the branch as it was.
    theirs = offerer.session("b")
    with pytest.raises(PeerError):
        theirs.receive_offer(AUDIO)
    assert (theirs.keys, offerer.candidates) == (first["b"], ("a", "b"))
    chosen = offerer.choose("a")
    assert chosen is ours
    assert chosen.keys == changed
    # The keys of the other are erased, and a branch that never answered has none.
    assert not theirs.keys.media
    with pytest.raises(LocalError):
        offerer.session("b")


def test_a_bad_branch_takes_nothing_from_a_good_one(parties: Parties) -> None:
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO)
    _, good, theirs = parties.respond(offer)
    keyed = offerer.receive_answer("good", good)
    with pytest.raises(PeerError):
        offerer.receive_answer("bad", AUDIO)
    assert offerer.candidates == ("good",)
    assert_mirrored(keyed, theirs)


def test_a_repeated_answer_changes_nothing(parties: Parties) -> None:
    offerer = parties.offerer()
    _, answer, _ = parties.respond(offerer.make_offer(AUDIO))
    first = offerer.receive_answer("tag", answer)
    again = offerer.receive_answer("tag", answer.replace("4000", "5000"))
    assert again.media == first.media
    assert not again.changed


def test_a_second_answer_of_a_branch_is_refused(parties: Parties) -> None:
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO)
    offerer.receive_answer("tag", parties.respond(offer)[1])
    with pytest.raises(UnexpectedMessage):
        offerer.receive_answer("tag", parties.respond(offer)[1])


def test_an_answer_cannot_be_used_on_two_branches(parties: Parties) -> None:
    offerer = parties.offerer()
    _, answer, _ = parties.respond(offerer.make_offer(AUDIO))
    offerer.receive_answer("one", answer)
    with pytest.raises(ReplayedMessage):
        offerer.receive_answer("two", answer)
    offerer.discard("one")
    with pytest.raises(ReplayedMessage):
        offerer.receive_answer("two", answer)


def test_branches_are_bounded(parties: Parties) -> None:
    offerer = parties.offerer(max_candidates=1)
    offer = offerer.make_offer(AUDIO)
    offerer.receive_answer("one", parties.respond(offer)[1])
    second = parties.respond(offer)[1]
    with pytest.raises(LimitExceeded):
        offerer.receive_answer("two", second)


def test_who_answered_is_told_and_may_be_refused(parties: Parties) -> None:
    ticket = grant(parties.world, parties.kms, responders=[BOB, CAROL])
    offerer = parties.offerer(ticket)
    picky = parties.offerer(ticket, accepts=lambda identity: identity == BOB)
    _, answer, carols = parties.respond(offerer.make_offer(AUDIO), identity=CAROL)
    keyed = offerer.receive_answer("tag", answer)
    assert (keyed.peer, keyed.called, carols.called) == (CAROL, BOB, BOB)
    _, answer, _ = parties.respond(picky.make_offer(AUDIO), identity=CAROL)
    with pytest.raises(IdentityMismatch, match="carol"):
        picky.receive_answer("tag", answer)
    assert picky.candidates == ()


def test_a_reused_ticket_needs_no_second_resolve(parties: Parties) -> None:
    ticket = grant(parties.world, parties.kms, flags=TicketFlags.of("DEFGHIJNO"))
    first, second = parties.offerer(ticket), parties.offerer(ticket)
    bob = parties.answerer()
    bob.receive_offer(first.make_offer(AUDIO), sip_caller=ALICE)
    resolved = bob.receive_resolve_resp(parties.kms.request(bob.make_resolve_init(credential(BOB))))
    asked = len(parties.kms.asked)
    again = parties.answerer()
    again.receive_offer(second.make_offer(AUDIO), sip_caller=ALICE)
    again.use_resolved(resolved)
    answer, theirs = again.make_answer(AUDIO)
    assert_mirrored(second.receive_answer("tag", answer), theirs)
    assert len(parties.kms.asked) == asked
    _, before = bob.make_answer(AUDIO)
    assert before.media[0].send.master_key != theirs.media[0].send.master_key


def test_an_offer_is_taken_once(parties: Parties) -> None:
    replay = ReplayCache(clock_skew_s=300)
    offer = parties.offerer().make_offer(AUDIO)
    parties.take(parties.answerer(replay=replay), offer)
    with pytest.raises(ReplayedMessage):
        parties.take(parties.answerer(replay=replay), offer)


@pytest.mark.parametrize("media_level", [False, True])
def test_both_levels_are_accepted(parties: Parties, media_level: bool) -> None:
    """An attribute at media level overrides that of the session level, and is answered where it stands."""
    offerer, second = parties.offerer(), parties.offerer()
    offer = offerer.make_offer(AUDIO_VIDEO)
    attribute = next(line for line in offer.split("\r\n") if line.startswith("a=key-mgmt"))
    if media_level:
        offer = offer.replace(attribute + "\r\n", "").replace("a=mid:01", f"a=mid:01\r\n{attribute}")
        offer = offer.replace("a=mid:v", f"a=mid:v\r\n{attribute}")
    else:
        other = second.make_offer(AUDIO_VIDEO)
        override = next(line for line in other.split("\r\n") if line.startswith("a=key-mgmt"))
        offer = offer.replace("a=mid:v", f"a=mid:v\r\n{override}")
    answerer = parties.answerer()
    parties.take(answerer, offer)
    answer, bobs = answerer.make_answer(AUDIO_VIDEO)
    session_part, _, media_part = answer.partition("m=audio")
    assert ("a=key-mgmt" in session_part) is not media_level
    assert media_part.count("a=key-mgmt") == (2 if media_level else 1)
    if media_level:
        assert_mirrored(offerer.receive_answer("tag", answer), bobs)
    else:
        assert bobs.media[0].send.master_key != bobs.media[1].send.master_key
        with pytest.raises(PeerError, match="2 different MIKEY messages"):
            offerer.receive_answer("tag", answer)


@pytest.mark.parametrize(
    "options", [{"called": CAROL}, {"suites": ["AES_CM_128_HMAC_SHA1_80"]}, {"suites": []}]
)
def test_a_ticket_that_does_not_fit_is_the_callers_mistake(
    parties: Parties, options: dict[str, object]
) -> None:
    with pytest.raises(LocalError):
        parties.offerer(**options)  # type: ignore[arg-type]


def test_a_ticket_without_response_is_of_no_use(parties: Parties) -> None:
    ticket = grant(parties.world, parties.kms, flags=TicketFlags.of("DEHLNO"))
    with pytest.raises(LocalError, match="F is 0"):
        Offerer(parties.env, grant=ticket, called=BOB)


def test_steps_out_of_order_are_the_callers_mistake(parties: Parties) -> None:
    offerer, answerer = parties.offerer(), parties.answerer()
    for step in (
        lambda: offerer.receive_answer("tag", AUDIO),
        lambda: offerer.check_sent(AUDIO),
        lambda: offerer.choose("tag"),
        lambda: answerer.make_answer(AUDIO),
        lambda: answerer.make_resolve_init(credential(BOB)),
        lambda: answerer.session,
    ):
        with pytest.raises(LocalError):
            step()
    offer = offerer.make_offer(AUDIO)
    answerer.receive_offer(offer, sip_caller=ALICE)
    for step in (  # type: ignore[assignment]
        lambda: offerer.make_offer(AUDIO),
        lambda: answerer.receive_offer(offer, sip_caller=ALICE),
        lambda: answerer.receive_resolve_resp(b""),
        lambda: answerer.make_answer(AUDIO),
    ):
        with pytest.raises(LocalError):
            step()


def test_no_repr_shows_a_key(parties: Parties) -> None:
    offerer = parties.offerer()
    _, answer, bobs = parties.respond(offerer.make_offer(AUDIO))
    alices = offerer.receive_answer("tag", answer)
    shown = repr((alices, bobs, offerer, offerer.choose("tag")))
    for session in (alices.media[0].send, alices.media[0].receive):
        assert session.master_key.reveal().hex() not in shown
        assert repr(session.master_key.reveal()) not in shown


def test_a_second_device_is_refused_where_both_would_get_the_same_keys(parties: Parties) -> None:
    """Without key forking (I = 0) the call is bound to the device that answers first."""
    ticket = grant(parties.world, parties.kms, flags=FULL_MODE.with_flag(TicketFlag.I, False))
    offerer = parties.offerer(ticket)
    offer = offerer.make_offer(AUDIO)
    answers = []
    for _ in range(2):
        answerer = parties.answerer()
        parties.take(answerer, offer)
        answers.append(answerer.make_answer(AUDIO)[0])
    first = offerer.receive_answer("first", answers[0])
    with pytest.raises(ForkedWithoutKeys):
        offerer.receive_answer("second", answers[1])
    assert offerer.candidates == ("first",)
    assert offerer.receive_answer("first", answers[0]).media == first.media
