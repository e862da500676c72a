"""The version in o= counts every change of a description (RFC 3264 section 8), key-mgmt among them."""

from __future__ import annotations

import re

import pytest

from sipmikey.agent.pjsua.media.sdp_version import VersionCounter
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.sdp import Offerer, Session
from sipmikey.sdp.origin import succeeding
from tests.sdp.descriptions import AUDIO
from tests.sdp.parties import Parties, World, grant

HELD = AUDIO.replace("a=sendrecv", "a=sendonly")
HOLDING = AUDIO.replace("a=sendrecv", "a=recvonly")


def origin(sdp: str) -> tuple[str, int]:
    """What of o= has to stay, and the version."""
    found = re.search(r"^o=(\S+ \S+) (\d+) (.*?)\r?$", sdp, re.MULTILINE)
    assert found is not None
    return f"{found[1]} {found[3]}", int(found[2])


def established() -> tuple[Session, Session, str, str]:
    parties = Parties(World())
    offerer: Offerer = parties.offerer(grant(parties.world, parties.kms, flags=TicketFlags.of("DEFGHILMNO")))
    offer = offerer.make_offer(AUDIO)
    answerer, answer, _ = parties.respond(offer, sdp=AUDIO)
    offerer.receive_answer("tag", answer)
    return offerer.choose("tag"), answerer.session, offer, answer


@pytest.mark.parametrize("caller_offers", [True, False])
def test_offers_and_answers_with_new_keys_have_new_versions(caller_offers: bool) -> None:
    caller, callee, offer, answer = established()
    one, other = (caller, callee) if caller_offers else (callee, caller)
    (kept, offered), (kept_too, answered) = map(origin, (offer, answer) if caller_offers else (answer, offer))
    for count in (1, 2, 3):
        # A stack may make each of its descriptions with an identifier and version of its own.
        sdp = re.sub(r"(?m)^o=(\S+) \S+ \S+", rf"o=\1 {count}9 {count}7", AUDIO)
        again = one.make_offer(sdp, rekey=True)
        other.receive_offer(again)
        reply, _ = other.make_answer(sdp)
        one.receive_answer(reply)
        assert origin(again) == (kept, offered + count)
        assert origin(reply) == (kept_too, answered + count)


def test_a_refresh_repeats_the_description_and_its_version() -> None:
    caller, callee, offer, answer = established()
    assert caller.make_offer(AUDIO) == offer
    callee.receive_offer(offer)
    assert callee.make_answer(AUDIO)[0] == answer


def test_hold_and_an_offer_after_a_refused_one_count_too() -> None:
    caller, callee, offer, _ = established()
    held = caller.make_offer(HELD)
    caller.abandon()
    rekeying = caller.make_offer(HELD, rekey=True)
    assert [origin(sdp)[1] - origin(offer)[1] for sdp in (held, rekeying)] == [1, 2]
    callee.receive_offer(rekeying)
    assert origin(callee.make_answer(HOLDING)[0])[1] == origin(offer)[1] + 1


def test_a_version_that_the_stack_counted_up_is_counted_on() -> None:
    caller, _, offer, _ = established()
    kept, version = origin(offer)
    held = caller.make_offer(HELD)
    caller.check_sent(held.replace(f" {version + 1} ", f" {version + 5} "))
    caller.abandon()
    assert origin(caller.make_offer(AUDIO)) == (kept, version + 6)


@pytest.mark.parametrize("line", ["o=- 1 x IN IP4 h", "o=-", ""])
def test_a_description_without_a_version_stays_as_it_is(line: str) -> None:
    odd = f"v=0\r\n{line}\r\ns=-\r\nt=0 0\r\n" if line else "v=0\r\ns=-\r\n"
    assert succeeding(odd, AUDIO) == odd
    assert succeeding(AUDIO, odd) == AUDIO


def test_pjmedia_is_shown_every_change_by_the_session_name() -> None:
    def sdp(version: int) -> str:
        return f"v=0\r\no=- 1 {version} IN IP4 h\r\ns=pjmedia\r\nt=0 0\r\n"

    counter = VersionCounter()

    def name(version: int, *, agreed: bool = True) -> str:
        found = re.search(r"^s=([^\r]*)", counter.marked(sdp(version)), re.MULTILINE)
        assert found is not None
        if agreed:
            counter.agreed()
        return found[1]

    names = [name(1), name(1), name(2), name(3), name(4, agreed=False), name(5), name(5), name(6)]
    assert names == ["-", "-", " ", "-", " ", " ", " ", "-"]
