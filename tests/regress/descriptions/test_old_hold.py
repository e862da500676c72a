"""c=0.0.0.0 holds a stream as RFC 2543 had it (RFC 3264 section 8.4): it is shown, and keys stay."""

from __future__ import annotations

import pytest

from sipmikey.mikey.ticket import TicketFlags
from sipmikey.sdp import Direction
from sipmikey.sdp.document import Document
from sipmikey.sdp.mapping import streams
from tests.sdp.descriptions import AUDIO
from tests.sdp.parties import Parties, World, grant

AT = "c=IN IP4 192.0.2.1"


@pytest.mark.parametrize(
    ("sdp", "direction"),
    [
        (AUDIO, Direction.SENDRECV),
        (AUDIO.replace(AT, "c=IN IP4 0.0.0.0"), Direction.SENDONLY),
        (AUDIO.replace(AT, "c=IN IP6 ::"), Direction.SENDONLY),
        (AUDIO.replace(AT, "c=IN IP4 0.0.0.0").replace("a=sendrecv", "a=inactive"), Direction.INACTIVE),
        (AUDIO.replace(AT, "c=IN IP4 0.0.0.0").replace("a=sendrecv", "a=recvonly"), Direction.INACTIVE),
        (AUDIO.replace(AT, "c=IN IP4 0.0.0.0") + f"{AT}\r\n", Direction.SENDRECV),
    ],
)
def test_the_address_of_nowhere_is_not_sent_to(sdp: str, direction: Direction) -> None:
    assert [stream.direction for stream in streams(Document.parse(sdp))] == [direction]


def test_a_held_call_says_so_and_keeps_its_keys() -> None:
    parties = Parties(World())
    offerer = parties.offerer(grant(parties.world, parties.kms, flags=TicketFlags.of("DEFGHILMNO")))
    answerer, answer, _ = parties.respond(offerer.make_offer(AUDIO), sdp=AUDIO)
    before = offerer.receive_answer("tag", answer)
    alice, bob = offerer.choose("tag"), answerer.session
    bob.receive_offer(alice.make_offer(AUDIO.replace(AT, "c=IN IP4 0.0.0.0")))
    text, keys = bob.make_answer(AUDIO.replace("a=sendrecv", "a=recvonly"))
    assert keys.media[0].direction is Direction.RECVONLY
    assert alice.receive_answer(text).media[0].send == before.media[0].send
