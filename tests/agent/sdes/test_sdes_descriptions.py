"""SDES in descriptions: what is taken, what is refused, and which keys come of it."""

from __future__ import annotations

import base64

import pytest

from sipmikey.agent.config import AgentConfig, Sip
from sipmikey.call.keying.sdes_exchange import SdesExchange, why_unfit
from sipmikey.call.keying.sdes_keying import SdesKeying
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Tell
from sipmikey.call.policy import CallPolicy
from sipmikey.call.reasons import AgentError
from sipmikey.call.settings import Patience
from sipmikey.call.streams import Streams
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sdp.errors import SentSdpAltered
from tests.agent.calls.branches import CALLER
from tests.agent.sdes.descriptions import OURS, SUITE, THEIRS, crypto, sdp


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        (sdp(), "key-mgmt-missing"),
        (sdp(crypto(OURS), profile="RTP/AVP"), "media-not-secured"),
        (sdp(crypto(OURS), session="a=key-mgmt:mikey AAAA\r\n"), "bidding-down"),
        (sdp(crypto(OURS), "a=key-mgmt:mikey AAAA\r\n"), "bidding-down"),
        (sdp(crypto(OURS, suite="AES_CM_128_HMAC_SHA1_32")), "suite-unavailable"),
        (sdp(crypto(OURS, suite="AES_256_CM_HMAC_SHA1_80")), "suite-unavailable"),
        (sdp(crypto(OURS[:-4])), "suite-unavailable"),
        (sdp(crypto("****")), "suite-unavailable"),
        (sdp("a=crypto:\r\n"), "suite-unavailable"),
        (sdp("a=crypto:1\r\n"), "suite-unavailable"),
        (sdp(crypto(OURS, rest="|2^20|1:4")), "suite-unavailable"),
        (sdp(crypto(OURS, rest=" UNENCRYPTED_SRTP")), "suite-unavailable"),
        (sdp(crypto(OURS, rest=" UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP")), "suite-unavailable"),
        (sdp(crypto(OURS), crypto(THEIRS)), "media-mismatch"),
        (sdp(crypto(OURS)) + "m=audio 4002 RTP/AVP 8\r\n", "media-not-secured"),
        (sdp(crypto(OURS)) + "m=audio 4002 RTP/SAVP 8\r\n", "key-mgmt-missing"),
        (sdp(crypto(OURS)).replace("4000", "0"), "media-not-secured"),
        ("", "sdp-malformed"),
    ],
)
def test_offers_that_cannot_be_answered_by_sdes(offer: str, reason: str) -> None:
    error = why_unfit(offer, (SUITE,))
    assert isinstance(error, PeerError)
    assert getattr(error, "word", error.reason) == reason
    assert OURS not in str(error)


@pytest.mark.parametrize(
    "offer",
    [
        sdp(crypto(OURS)),
        sdp(crypto(OURS, rest="|2^31")),
        sdp(crypto(THEIRS, suite="F8_128_HMAC_SHA1_80"), crypto(OURS, tag=2)),
        sdp(crypto(OURS)) + "m=video 0 RTP/AVP 96\r\n",
    ],
)
def test_offers_that_can(offer: str) -> None:
    assert why_unfit(offer, (SUITE,)) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sdp(crypto(THEIRS, tag=2)), "media-mismatch"),
        (sdp(crypto(OURS)), "media-mismatch"),
        (sdp(crypto(THEIRS), crypto(OURS, tag=2)), "media-mismatch"),
        (sdp(crypto(THEIRS), crypto(THEIRS, tag=2, suite="F8_128_HMAC_SHA1_80")), "media-mismatch"),
        (sdp(crypto(THEIRS, rest=" UNENCRYPTED_SRTCP")), "suite-unavailable"),
        (sdp(profile="RTP/AVP"), "media-not-secured"),
        (sdp(), "key-mgmt-missing"),
    ],
)
@pytest.mark.parametrize("ours_offered", [True, False])
def test_answers_that_are_refused(answer: str, reason: str, ours_offered: bool) -> None:
    exchange = SdesExchange(("AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"))
    if ours_offered:
        exchange.made(sdp(crypto(OURS)), answering=False)
    else:
        exchange.receive_offer(sdp(crypto(OURS)))
    with pytest.raises(PeerError) as caught:
        exchange.receive_answer(answer) if ours_offered else exchange.made(answer, answering=True)
    assert caught.value.reason == reason
    assert exchange.streams == ()


def test_both_sides_see_the_same_keys_crossed_and_tell_them_once() -> None:
    caller, callee = SdesExchange((SUITE,)), SdesExchange((SUITE,))
    offer, answer = sdp(crypto(OURS)), sdp(crypto(THEIRS))
    caller.made(offer, answering=False)
    callee.receive_offer(offer)
    callee.made(answer, answering=True)
    caller.receive_answer(answer)
    (mine,) = caller.streams
    (theirs,) = callee.streams
    assert (mine.send_key, mine.receive_key) == (theirs.receive_key, theirs.send_key)
    assert mine.send_key != mine.receive_key
    caller.receive_answer(sdp(crypto(base64.b64encode(bytes(30)).decode())))
    (again,) = caller.streams
    assert (again.send_key, again.receive_key != mine.receive_key) == (mine.send_key, True)


def test_keys_are_told_once_and_others_as_new_ones() -> None:
    out = Outbox("1")
    streams = Streams(out, Patience())
    keying = SdesKeying((SUITE,), lambda transport: True)
    keying.make_offer(sdp(crypto(OURS)))
    third = base64.b64encode(bytes(30)).decode()
    told = []
    for answer in (THEIRS, THEIRS, third):
        streams.key(keying.receive_answer(sdp(crypto(answer)), "a"), "a", rekeyed=True)
        told += [output.event.type for output in out.drain() if isinstance(output, Tell)]
    assert told == ["media.keyed", "media.rekeyed"]


def test_before_the_200_only_the_branch_whose_keys_run_may_offer() -> None:
    keying = SdesKeying((SUITE,), lambda transport: True)
    keying.make_offer(sdp(crypto(OURS)))
    for tag in ("a", "b"):
        keying.receive_answer(sdp(crypto(THEIRS)), tag)
    offer = sdp(crypto(base64.b64encode(bytes(30)).decode()))
    with pytest.raises(AgentError):
        keying.receive_offer(offer, "a")
    keying.receive_offer(offer, "b")
    keying.choose("b")
    keying.receive_offer(offer)


def test_what_was_sent_must_be_keyed_as_what_was_made() -> None:
    exchange = SdesExchange((SUITE,))
    exchange.made(sdp(crypto(OURS)), answering=False)
    exchange.check_sent(sdp(crypto(OURS)))
    for altered in (sdp(), sdp(crypto(THEIRS)), sdp(crypto(OURS), session="a=key-mgmt:mikey AAAA\r\n")):
        with pytest.raises(SentSdpAltered, match="carries different keys than the SDP made"):
            exchange.check_sent(altered)


def test_sdes_needs_tls_unless_policy_says_otherwise() -> None:
    with pytest.raises(LocalError, match="add tls to sip"):
        AgentConfig(identity=CALLER, sip=Sip(), policy=CallPolicy(alternative="sdes"))
    AgentConfig(identity=CALLER, sip=Sip(), policy=CallPolicy(alternative="sdes-without-tls"))
