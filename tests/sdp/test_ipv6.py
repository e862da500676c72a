"""Descriptions of IPv6 addresses: set-up, hold and rekeying leave the addresses alone."""

from __future__ import annotations

from sipmikey.mikey.ticket import TicketFlags
from sipmikey.sdp import Session
from tests.sdp.descriptions import AUDIO
from tests.sdp.parties import Parties, assert_mirrored, grant

CALLER = AUDIO.replace("IN IP4 192.0.2.1", "IN IP6 2001:db8::a")
CALLEE = AUDIO.replace("IN IP4 192.0.2.1", "IN IP6 2001:db8:0:1:2:3:4:b").replace("alice", "bob")
BOTH_GIVE_KEYS = TicketFlags.of("DEFGHILMNO")


def changed_lines(made: str, given: str) -> list[str]:
    """The lines of *made* that *given* does not have."""
    return [line for line in made.splitlines() if line not in given.splitlines()]


def assert_only_keyed(made: str, given: str) -> None:
    kinds = [line.partition(":")[0].split()[0] for line in changed_lines(made, given)]
    assert sorted(set(kinds) - {"o=alice", "o=bob"}) == ["a=key-mgmt", "m=audio"]
    assert made.count("IN IP6 2001:db8:") == given.count("IN IP6 2001:db8:") == 3


def test_a_call_between_ipv6_addresses() -> None:
    parties = Parties()
    offerer = parties.offerer(grant(parties.world, parties.kms, flags=BOTH_GIVE_KEYS))
    offer = offerer.make_offer(CALLER)
    assert_only_keyed(offer, CALLER)
    answerer, answer, bobs = parties.respond(offer, sdp=CALLEE)
    assert_only_keyed(answer, CALLEE)
    assert_mirrored(offerer.receive_answer("tag", answer), bobs)
    alice, bob = offerer.choose("tag"), answerer.session
    held = CALLER.replace("a=sendrecv", "a=sendonly")
    assert not _exchange(alice, bob, held, CALLEE.replace("a=sendrecv", "a=recvonly"))
    assert _exchange(bob, alice, CALLEE, CALLER, rekey=True)


def _exchange(one: Session, other: Session, given: str, answered: str, *, rekey: bool = False) -> bool:
    """Let *one* offer and *other* answer within the call; whether the keys changed."""
    offer = one.make_offer(given, rekey=rekey)
    one.check_sent(offer)
    assert_only_keyed(offer, given)
    other.receive_offer(offer)
    answer, theirs = other.make_answer(answered)
    other.check_sent(answer)
    assert_only_keyed(answer, answered)
    mine = one.receive_answer(answer)
    assert_mirrored(mine, theirs)
    return mine.changed
