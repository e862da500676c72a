"""A call between two real agents: the speech arrives, and on the wire nobody else can hear it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.interop.lab.agents import Agent, SrtpKey, settings
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import Capture, RtpPacket
from tests.interop.lab.speech import compare

PCMA = 8
AUTH_TAG = 10
PACKETS = 130
SENDER_REPORT = 200


def _call(alice: Agent, bob: Agent) -> None:
    """A call that lasts until both have heard the two seconds of the other's speech."""
    number = alice.call(uri("bob"))
    alice.do("proven", call=number)
    answered = bob.event("call.answered")["call"]
    alice.hear(number, PACKETS)
    bob.hear(answered, PACKETS)
    alice.do("hangup", call=number)
    bob.event("call.end")


@pytest.mark.parametrize(
    ("suites", "name"),
    [(["256", "128"], "AES_256_CM_HMAC_SHA1_80"), (["128"], "AES_CM_128_HMAC_SHA1_80")],
    ids=["256", "128"],
)
def test_speech_arrives_and_only_the_keys_open_it(
    capture: Capture,
    kms: Kms,
    speech: Path,
    other_speech: Path,
    tmp_path: Path,
    suites: list[str],
    name: str,
) -> None:
    at_alice, at_bob = tmp_path / "at-alice.wav", tmp_path / "at-bob.wav"
    once = {"repeat": False}
    with (
        Agent("bob", settings("bob", kms, play=other_speech, record=at_bob, audio=once)) as bob,
        Agent(
            "alice",
            settings(
                "alice", kms, peer=bob, play=speech, record=at_alice, audio=once, keys={"suites": suites}
            ),
        ) as alice,
    ):
        _call(alice, bob)
        facts = alice.events("call.answered")[-1]["security"]
        counts = {agent.name: agent.events("stats")[-1]["streams"][0] for agent in (alice, bob)}
        assert facts["suite"] == name
        assert (facts["peer"], facts["kms"]) == ("sip:bob@example.test", "sip:kms@example.test")
        for played, heard in ((speech, at_bob), (other_speech, at_alice)):
            match = compare(played, heard)
            assert match.correlation > 0.8, match
        packets = capture.rtp()
        assert len({packet.ssrc for packet in packets}) == 2, "one stream each way"
        for agent, played in ((alice, speech), (bob, other_speech)):
            key = agent.sending_key()
            stream = srtp.stream_under(packets, key.key, key.salt)
            _check_stream(stream, key, played, tmp_path)
            # The capture may miss what is sent while the call ends.
            assert 0 <= counts[agent.name]["sent"] - len(stream) <= 2
        _check_rtcp(capture, packets, [agent.sending_key() for agent in (alice, bob)])
        assert referee.sip_faults(capture) == []
        assert [row[4] for row in referee.key_management(capture)] == ["mikey", "mikey"]


def _check_stream(stream: list[RtpPacket], key: SrtpKey, played: Path, directory: Path) -> None:
    """Every packet is under the key; what it opens to is the speech; what is on the wire is not."""
    assert {packet.payload_type for packet in stream} == {PCMA}
    assert srtp.authentic(stream, key.key, key.salt) == len(stream)
    on_the_wire = b"".join(packet.payload[:-AUTH_TAG] for packet in stream)
    as_if_plain = srtp.decode_g711(on_the_wire, PCMA)
    assert compare(played, as_if_plain).correlation < 0.3
    octets = srtp.decrypt_with_gstreamer(stream, key.key, key.salt, directory)
    assert compare(played, srtp.decode_g711(octets, PCMA)).correlation > 0.95
    other = os.urandom(len(key.key))
    assert srtp.decrypt_with_gstreamer(stream, other, key.salt, directory) == b""
    assert srtp.decrypt_with_gstreamer(stream, key.key, os.urandom(14), directory) == b""
    if len(key.key) == 16:
        heard = srtp.decrypt_with_ffmpeg(stream, key.key, key.salt, directory)
        assert compare(played, heard).correlation > 0.95
        assert srtp.decrypt_with_ffmpeg(stream, other, key.salt, directory) == b""


def _check_rtcp(capture: Capture, packets: list[RtpPacket], keys: Sequence[SrtpKey]) -> None:
    """RTCP went out, says that it is encrypted, and opens with one of the keys where we can try that."""
    reports = [raw for _, _, raw in capture.rtcp()]
    assert reports, "no RTCP at all proves nothing"
    sent = Counter(packet.ssrc for packet in packets)
    for raw in reports:
        assert raw[-AUTH_TAG - 4] & 0x80, "SRTCP's E flag is not set"
        if raw[1] == SENDER_REPORT:
            ssrc, count = int.from_bytes(raw[4:8], "big"), int.from_bytes(raw[20:24], "big")
            assert count > 10 * sent[ssrc], "a packet count in clear"
        if len(keys[0].key) == 16:
            assert sum(srtp.opens_rtcp(raw, key.key, key.salt) for key in keys) == 1


def test_nothing_is_sent_before_there_are_keys(network: Namespace, capture: Capture, kms: Kms) -> None:
    """bob rings for a while: neither side sends a packet until the answer is there."""
    with (
        Agent("bob", settings("bob", kms, incoming="ring")) as bob,
        Agent("alice", settings("alice", kms, peer=bob)) as alice,
    ):
        number = alice.do("call", uri=uri("bob"))
        ringing = bob.incoming()["call"]
        alice.event("call.ringing")
        bob.do("reject", call=ringing, status=486)
        ended = alice.do("ended", call=number)
        assert (ended["reason"], ended["status"]) == ("busy", 486)
        assert not alice.keys()
        assert not bob.keys()
        assert capture.rtp() == []
        assert capture.rtcp() == []
