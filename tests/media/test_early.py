"""Media before the answer: bounded, and opened with candidates' keys only."""

from __future__ import annotations

import random

from sipmikey.media.early import EarlyMedia
from sipmikey.media.rtcp.packets import ReceiverReport, SourceDescription, encode_compound
from sipmikey.media.srtp import SrtpSender
from tests.media.keys import SSRC, make_key, rtp

MS = 1_000_000


def test_each_candidate_gets_its_own_packets_in_order() -> None:
    early = EarlyMedia()
    keys = {"tag A": make_key(seed=1, ssrc=1), "tag B": make_key(seed=2, ssrc=1, mki=b"\1")}
    senders = {name: SrtpSender(key) for name, key in keys.items()}
    sent: dict[str, list[bytes]] = {"tag A": [], "tag B": []}
    rng = random.Random(5)
    for number in range(40):
        name = rng.choice(("tag A", "tag B"))
        packet = senders[name].protect(rtp(number, ssrc=1))
        sent[name].append(packet)
        early.hold(packet, number * 20 * MS)
        early.hold(rng.randbytes(182), number * 20 * MS)
    assert [held.packet for held in early.take("tag C", make_key(seed=3, ssrc=1))] == []
    assert [held.packet for held in early.take("tag A", keys["tag A"])] == sent["tag A"]
    assert [held.packet for held in early.take("tag B", keys["tag B"])] == sent["tag B"]
    assert early.fitting == {"tag C": 0, "tag A": len(sent["tag A"]), "tag B": len(sent["tag B"])}
    assert len(early) == 40  # what fits no candidate stays, unopened
    early.clear()
    assert len(early) == 0


def test_rtcp_is_held_too() -> None:
    early = EarlyMedia()
    report = encode_compound((ReceiverReport(ssrc=SSRC), SourceDescription.cname(SSRC, "x")))
    early.hold(SrtpSender(make_key()).protect_rtcp(report), 0, rtcp=True)
    assert [held.rtcp for held in early.take("A", make_key())] == [True]


def test_packets_are_bounded_and_the_oldest_go() -> None:
    early = EarlyMedia(max_packets=10)
    sender = SrtpSender(make_key())
    packets = [sender.protect(rtp(n)) for n in range(25)]
    for n, packet in enumerate(packets):
        early.hold(packet, n * MS)
    assert (len(early), early.dropped) == (10, 15)
    assert [held.packet for held in early.take("A", make_key())] == packets[15:]


def test_octets_are_bounded() -> None:
    early = EarlyMedia(max_bytes=1000)
    for _ in range(100):
        early.hold(bytes(300), 0)
    assert len(early) == 3
    early.hold(bytes(2000), 0)
    assert len(early) == 0


def test_age_is_bounded() -> None:
    early = EarlyMedia(max_age_ns=100 * MS)
    for n in range(10):
        early.hold(bytes(100), n * 20 * MS)
    assert len(early) == 6
