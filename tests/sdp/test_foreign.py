"""Peers that make other choices than this package where the RFCs leave them open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sipmikey.mikey.errors import InvalidSecurityPolicy, PeerError, UnsupportedSecurityPolicy
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.security_policy import SP
from sipmikey.sdp import MediaMismatch, SessionKeys, SrtpSuite
from sipmikey.sdp.attribute import insert, parse_value
from sipmikey.sdp.document import Document
from sipmikey.sdp.mapping import secured
from sipmikey.ticket import CryptoSession, CryptoSessionBundle
from sipmikey.ticket.transfer import TransferInitiator
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO
from tests.sdp.parties import ALICE, BOB, Parties, grant

CM_80, CM_32, GCM = (
    SrtpSuite.AES_256_CM_HMAC_SHA1_80,
    SrtpSuite.AES_256_CM_HMAC_SHA1_32,
    SrtpSuite.AEAD_AES_256_GCM,
)


def ssrc(value: int) -> bytes:
    """Session Data with only an SSRC."""
    return SrtpSessionData(ssrc=value).encode()


class ForeignCaller:
    """A caller that makes TRANSFER_INIT to a plan of its own."""

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        self.grant = grant(parties.world, parties.kms)

    def offer(self, entries: Sequence[GenericIdEntry], policies: Sequence[SP] = (), sdp: str = AUDIO) -> str:
        self.transfer = TransferInitiator.start(
            self.parties.env,
            self.grant,
            crypto_sessions=entries,
            policies=policies,
            initiator=ALICE,
            responder=BOB,
        )
        return str(insert(secured(Document.parse(sdp)), None, self.transfer.message))

    def bundle(self, answer: str) -> CryptoSessionBundle:
        (line,) = [line for line in answer.split("\r\n") if line.startswith("a=key-mgmt")]
        return self.transfer.receive(parse_value(line.partition(":")[2], max_bytes=65_535)[1])


def call(
    entries: Sequence[GenericIdEntry], policies: Sequence[SP] = (), sdp: str = AUDIO
) -> tuple[dict[int, CryptoSession], SessionKeys]:
    """Let a foreign caller call Bob; return its crypto sessions by CS ID, and Bob's keys."""
    parties = Parties()
    caller = ForeignCaller(parties)
    _, answer, keyed = parties.respond(caller.offer(entries, policies, sdp), sdp=sdp)
    return {session.cs_id: session for session in caller.bundle(answer).crypto_sessions}, keyed


def test_a_caller_that_names_no_policy_gets_the_callees_first() -> None:
    sessions, keyed = call([GenericIdEntry(cs_id=1, session_data=ssrc(7)), GenericIdEntry(cs_id=2)])
    assert sessions[1].policy == sessions[2].policy == CM_80.policy
    assert (keyed.media[0].receive, keyed.media[0].send) == (sessions[1], sessions[2])


def test_a_caller_that_gives_no_ssrc_of_its_own_gets_one() -> None:
    described = AUDIO + "a=ssrc:77 cname:x\r\n"
    for sdp, expected in ((AUDIO, None), (described, 77)):
        sessions, keyed = call([GenericIdEntry(cs_id=1), GenericIdEntry(cs_id=2)], sdp=sdp)
        assert keyed.media[0].receive == sessions[1]
        assert expected in (None, sessions[1].ssrc)


def test_a_caller_that_says_everything_is_taken_at_its_word() -> None:
    """Session Data with ROC and SEQ, an SPI, and a policy for each direction."""
    parties = Parties()
    caller = ForeignCaller(parties)
    spi = caller.grant.keys[0].spi
    assert spi is not None
    counted = SrtpSessionData(ssrc=5, roc=3, seq=9)
    entries = [
        GenericIdEntry(cs_id=1, policies=(8,), s=True, session_data=counted.encode(), spi=spi),
        GenericIdEntry(cs_id=2, policies=(9,), session_data=ssrc(6), spi=spi),
    ]
    offer = caller.offer(entries, [CM_80.policy.payload(8), CM_32.policy.payload(9)])
    answerer = parties.answerer(suites=[CM_32, CM_80])
    parties.take(answerer, offer)
    answer, keyed = answerer.make_answer(AUDIO)
    sessions = {session.cs_id: session for session in caller.bundle(answer).crypto_sessions}
    receive, send = keyed.media[0].receive, keyed.media[0].send
    assert (receive, send) == (sessions[1], sessions[2])
    assert (receive.ssrc, receive.roc, receive.seq, receive.policy) == (5, 3, 9, CM_80.policy)
    assert (send.ssrc, send.policy) == (6, CM_32.policy)


def test_an_ssrc_the_callee_is_known_to_send_with_stands_over_the_callers_guess() -> None:
    parties = Parties()
    caller = ForeignCaller(parties)
    offer = caller.offer([GenericIdEntry(cs_id=cs_id, session_data=ssrc(cs_id)) for cs_id in (1, 2)])
    answerer = parties.answerer()
    parties.take(answerer, offer)
    answer, keyed = answerer.make_answer(AUDIO, ssrcs={0: 99})
    sessions = caller.bundle(answer).crypto_sessions
    assert [session.ssrc for session in sessions] == [1, 99]
    assert keyed.media[0].send == sessions[1]


def test_a_caller_that_counts_only_secured_m_lines() -> None:
    sdp = AUDIO_VIDEO.replace("audio 4000", "audio 0")
    sessions, keyed = call([GenericIdEntry(cs_id=1, session_data=ssrc(7)), GenericIdEntry(cs_id=2)], sdp=sdp)
    assert [media.index for media in keyed.media] == [1]
    assert (keyed.media[0].receive, keyed.media[0].send) == (sessions[1], sessions[2])


def test_crypto_sessions_of_no_m_line_are_left_out() -> None:
    sessions, keyed = call([GenericIdEntry(cs_id=cs_id) for cs_id in (9, 2, 1, 200)])
    assert sorted(sessions) == [1, 2]
    assert len(keyed.media) == 1


def test_unknown_policies_are_passed_over() -> None:
    odd = CM_80.policy.payload(1)
    unnamed = SP(policy_no=0, prot_type=odd.prot_type, params=odd.params[:1])
    sessions, _ = call(
        [GenericIdEntry(cs_id=cs_id, policies=(0, 1)) for cs_id in (1, 2)],
        [unnamed, odd],
    )
    assert sessions[1].policy == CM_80.policy


@pytest.mark.parametrize(
    ("entries", "policies", "error"),
    [
        ([], [], MediaMismatch),
        ([GenericIdEntry(cs_id=1)], [], MediaMismatch),
        ([GenericIdEntry(cs_id=1), GenericIdEntry(cs_id=3)], [], MediaMismatch),
        ([GenericIdEntry(cs_id=cs_id, policies=(4,)) for cs_id in (1, 2)], [], InvalidSecurityPolicy),
        (
            [GenericIdEntry(cs_id=cs_id, policies=(0,)) for cs_id in (1, 2)],
            [GCM.policy.payload(0)],
            UnsupportedSecurityPolicy,
        ),
        (
            [GenericIdEntry(cs_id=cs_id, policies=(0,)) for cs_id in (1, 2)],
            [SrtpSuite.AES_CM_128_HMAC_SHA1_80.policy.payload(0)],
            UnsupportedSecurityPolicy,
        ),
        (
            [GenericIdEntry(cs_id=cs_id, prot_type=5) for cs_id in (1, 2)],
            [],
            UnsupportedSecurityPolicy,
        ),
    ],
)
def test_what_cannot_be_keyed_is_refused_before_the_kms_is_asked(
    entries: list[GenericIdEntry], policies: list[SP], error: type[PeerError]
) -> None:
    parties = Parties()
    caller = ForeignCaller(parties)
    with pytest.raises(error):
        parties.answerer().receive_offer(caller.offer(entries, policies), sip_caller=ALICE)
    assert len(parties.kms.asked) == 1


def test_an_spi_of_no_key_is_refused() -> None:
    parties = Parties()
    caller = ForeignCaller(parties)
    offer = caller.offer([GenericIdEntry(cs_id=1, spi=b"none"), GenericIdEntry(cs_id=2)])
    answerer = parties.answerer()
    with pytest.raises(PeerError, match="names no session key"):
        parties.take(answerer, offer)
    assert answerer.unresolved


def test_a_group_is_answered_by_a_member_under_its_own_name() -> None:
    parties = Parties()
    group = "sip:support@example.com"
    parties.kms.groups[BOB] = group
    offerer = parties.offerer(grant(parties.world, parties.kms, responders=[group]), called=group)
    offer = offerer.make_offer(AUDIO)
    _, answer, theirs = parties.respond(offer)
    keyed = offerer.receive_answer("tag", answer)
    assert (keyed.peer, keyed.called, theirs.called) == (BOB, group, group)


def test_a_wildcard_ticket_is_good_for_whoever_fits() -> None:
    parties = Parties()
    ticket = grant(parties.world, parties.kms, responders=["sip:*@example.com"])
    offerer = parties.offerer(ticket)
    _, answer, _ = parties.respond(offerer.make_offer(AUDIO))
    assert offerer.receive_answer("tag", answer).peer == BOB
