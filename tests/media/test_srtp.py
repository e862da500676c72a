"""Senders and receivers: binding, index, rekeying, refusals and their diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pylibsrtp
import pytest

from sipmikey.media.context import LIBSRTP_ERRORS, MAX_ROLLOVERS, SrtpContext
from sipmikey.media.errors import PacketNotSent, PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.rtcp.packets import ReceiverReport, SourceDescription, encode_compound
from sipmikey.media.srtp import LATE_PACKETS, SrtpReceiver, SrtpSender
from sipmikey.mikey.errors import LocalError
from tests.media.keys import AES_32, AES_80, GCM_128, PYTHON_PROFILES, SSRC, as_profile, make_key, rtp

REPORT = encode_compound((ReceiverReport(ssrc=SSRC), SourceDescription.cname(SSRC, "a@example")))


def refused(unprotect: Callable[[bytes], bytes], packet: bytes) -> PacketRefused:
    with pytest.raises(PacketRefused) as caught:
        unprotect(packet)
    return caught.value


def not_sent(protect: Callable[[bytes], bytes], packet: bytes) -> PacketNotSent:
    with pytest.raises(PacketNotSent) as caught:
        protect(packet)
    return caught.value


@pytest.mark.parametrize("profile", PYTHON_PROFILES)
def test_what_is_sent_is_received(profile: str) -> None:
    sender, receiver = SrtpSender(make_key(profile)), SrtpReceiver(make_key(profile))
    for sequence in range(65530, 65545):
        packet = sender.protect(rtp(sequence))
        assert rtp(sequence)[12:] not in packet
        assert receiver.unprotect(packet) == rtp(sequence)
    assert receiver.unprotect_rtcp(sender.protect_rtcp(REPORT)) == REPORT
    assert (sender.rollover_counter, receiver.rollover_counter) == (1, 1)


def test_every_status_text_of_the_installed_library_has_a_kind() -> None:
    assert set(pylibsrtp.ERRORS) == set(LIBSRTP_ERRORS)


def test_ssrc_is_bound_to_the_key() -> None:
    sender, receiver = SrtpSender(make_key()), SrtpReceiver(make_key())
    assert not_sent(sender.protect, rtp(1, ssrc=7)).error is SrtpError.OTHER_SSRC
    stranger = SrtpSender(make_key(ssrc=7)).protect(rtp(1, ssrc=7))
    found = refused(receiver.unprotect, stranger)
    assert found.error is SrtpError.OTHER_SSRC
    assert "the key fits otherwise" in found.detail


def test_a_sequence_number_is_never_protected_twice() -> None:
    sender = SrtpSender(make_key())
    sender.protect(rtp(5))
    assert not_sent(sender.protect, rtp(5, payload=b"other")).error is SrtpError.REPLAYED


def test_the_first_sequence_number_is_the_one_announced() -> None:
    sender = SrtpSender(make_key(seq=1000))
    assert "announced was 1000" in not_sent(sender.protect, rtp(7)).detail
    assert sender.protect(rtp(1000))


@pytest.mark.parametrize("profile", PYTHON_PROFILES)
@pytest.mark.parametrize("seq", [0, 1, 0x3FFF, 0x4000, 0x7FFE, 0x7FFF, 0x8000, 0xBFFF, 0xC000, 0xFFFF])
@pytest.mark.parametrize("announced", [True, False])
def test_a_running_rollover_counter_is_taken_up(profile: str, seq: int, announced: bool) -> None:
    key = make_key(profile, roc=3, seq=seq if announced else None)
    sender, receiver = SrtpSender(key), SrtpReceiver(key)
    for sequence in range(seq, seq + 3):
        assert receiver.unprotect(sender.protect(rtp(sequence))) == rtp(sequence)
    # Another receiver that starts at zero proves that the counter was in the authentication.
    assert refused(SrtpReceiver(replace(key, roc=0)).unprotect, sender.protect(rtp(seq + 3)))


def test_the_counter_taken_up_is_the_one_reached_by_sending() -> None:
    long_way = SrtpSender(make_key())
    for sequence in range(0, 3 * 65536 + 10, 1 << 14):
        long_way.protect(rtp(sequence))
    direct = SrtpSender(make_key(roc=3, seq=11))
    packet = rtp(3 * 65536 + 11)
    assert direct.protect(packet) == long_way.protect(packet)


@pytest.mark.parametrize("end", [SrtpSender, SrtpReceiver])
@pytest.mark.parametrize("seq", [1, None])
def test_a_rollover_counter_out_of_reach_is_refused_at_once(end: type, seq: int | None) -> None:
    with pytest.raises(LocalError, match="rollover counter 4097 is beyond"):
        end(make_key(roc=MAX_ROLLOVERS + 1, seq=seq))


@pytest.mark.parametrize("mki", [b"", b"\x01", b"\x01\x02\x03\x04"])
@pytest.mark.parametrize("profile", PYTHON_PROFILES)
@pytest.mark.parametrize("first", [100, 65500])
def test_rekeying_loses_no_packet(profile: str, mki: bytes, first: int) -> None:
    old = make_key(profile, mki=mki)
    new = make_key(profile, seed=2, mki=mki[:-1] + b"\x09" if mki else b"")
    sender, receiver = SrtpSender(old), SrtpReceiver(old)
    before = [sender.protect(rtp(n)) for n in range(first, first + 50)]
    receiver.rekey(new)
    reports = [sender.protect_rtcp(REPORT) for _ in range(3)]
    sender.rekey(new)
    after = [sender.protect(rtp(n)) for n in range(first + 50, first + 100)]
    reports += [sender.protect_rtcp(REPORT) for _ in range(3)]
    assert [receiver.unprotect(p)[12:] for p in before[:-1]] == [
        rtp(n)[12:] for n in range(first, first + 49)
    ]
    assert receiver.rekeying
    assert [receiver.unprotect_rtcp(p) for p in reports] == [REPORT] * 6
    assert receiver.unprotect(after[0]) == rtp(first + 50)
    assert not receiver.rekeying
    # A packet from before the switch that comes late is still taken.
    assert receiver.unprotect(before[-1]) == rtp(first + 49)
    for n, packet in enumerate(after[1:], first + 51):
        assert receiver.unprotect(packet) == rtp(n)
    assert sender.rollover_counter == receiver.rollover_counter == (first + 99) >> 16


def test_the_rollover_counter_and_the_srtcp_index_survive_rekeying() -> None:
    sender = SrtpSender(make_key())
    for sequence in range(0, 2 * 65536, 1 << 14):
        sender.protect(rtp(sequence))
    indices = [int.from_bytes(sender.protect_rtcp(REPORT)[-14:-10], "big") & 0x7FFFFFFF for _ in range(2)]
    sender.rekey(make_key(seed=2))
    indices.append(int.from_bytes(sender.protect_rtcp(REPORT)[-14:-10], "big") & 0x7FFFFFFF)
    assert indices[2] == indices[1] + 1 == indices[0] + 2
    fresh = SrtpReceiver(make_key(seed=2, roc=1, seq=0xC001))
    assert fresh.unprotect(sender.protect(rtp(65536 + 0xC001))) == rtp(65536 + 0xC001)


def test_a_switch_may_come_a_rollover_after_the_key() -> None:
    old, new = make_key(), make_key(seed=2)
    sender, receiver = SrtpSender(old), SrtpReceiver(old)
    receiver.unprotect(sender.protect(rtp(10)))
    receiver.rekey(new)
    for sequence in range(20, 2 * 65536, 1 << 12):
        receiver.unprotect(sender.protect(rtp(sequence)))
    sender.rekey(new)
    assert receiver.unprotect(sender.protect(rtp(2 * 65536 + 5))) == rtp(2 * 65536 + 5)


def test_a_peer_that_resets_its_rollover_counter_at_rekeying_is_followed() -> None:
    old, new = make_key(), make_key(seed=2)
    sender, receiver = SrtpSender(old), SrtpReceiver(old)
    for sequence in range(0, 2 * 65536, 1 << 14):
        receiver.unprotect(sender.protect(rtp(sequence)))
    assert receiver.rollover_counter == 1
    receiver.rekey(new)
    late = sender.protect(rtp(2 * 65536 - 16))
    resetting = SrtpSender(new)
    for sequence in range(65536 - 10, 65536 + 10):
        assert receiver.unprotect(resetting.protect(rtp(sequence))) == rtp(sequence)
    assert receiver.rollover_counter == 1
    assert receiver.unprotect(late) == rtp(2 * 65536 - 16)


def test_the_old_key_is_dropped_after_the_switch() -> None:
    old, new = make_key(), make_key(seed=2)
    sender, receiver = SrtpSender(old), SrtpReceiver(old)
    receiver.unprotect(sender.protect(rtp(1)))
    late = sender.protect(rtp(2))
    later = SrtpSender(old)
    later.protect(rtp(1))
    receiver.rekey(new)
    sender.rekey(new)
    receiver.unprotect(sender.protect(rtp(3)))
    # The old key opens nothing numbered after the switch...
    assert refused(receiver.unprotect, later.protect(rtp(4))).error is SrtpError.AUTHENTICATION
    # ...and nothing at all some packets later.
    for sequence in range(4, 4 + LATE_PACKETS):
        receiver.unprotect(sender.protect(rtp(sequence)))
    assert refused(receiver.unprotect, late).error is SrtpError.AUTHENTICATION


def test_a_new_ssrc_starts_anew() -> None:
    sender, receiver = SrtpSender(make_key()), SrtpReceiver(make_key())
    receiver.unprotect(sender.protect(rtp(60000)))
    new = make_key(seed=2, ssrc=99, seq=5)
    sender.rekey(new)
    receiver.rekey(new)
    assert receiver.unprotect(sender.protect(rtp(5, ssrc=99))) == rtp(5, ssrc=99)


# The first bad packet, diagnosed.


def diagnosed(sender_key: StreamKey, receiver: SrtpReceiver, payload: bytes | None = None) -> PacketRefused:
    return refused(receiver.unprotect, SrtpSender(sender_key).protect(rtp(9, payload=payload)))


@pytest.mark.parametrize("profile", PYTHON_PROFILES)
def test_unknown_mki(profile: str) -> None:
    found = diagnosed(
        make_key(profile, seed=2, mki=b"\xab\xcd"), SrtpReceiver(make_key(profile, mki=b"\x00\x01"))
    )
    assert (found.error, found.detail) == (SrtpError.MKI_UNKNOWN, "MKI abcd, expected 0001")


@pytest.mark.parametrize("profile", PYTHON_PROFILES)
def test_missing_mki(profile: str) -> None:
    found = diagnosed(make_key(profile), SrtpReceiver(make_key(profile, mki=b"\x00\x01")))
    assert found.error is SrtpError.MKI_MISSING


@pytest.mark.parametrize("profile", PYTHON_PROFILES)
def test_unexpected_mki(profile: str) -> None:
    found = diagnosed(make_key(profile, mki=b"\x00\x00\x01"), SrtpReceiver(make_key(profile)))
    assert found.error is SrtpError.MKI_UNEXPECTED
    assert "3 bytes" in found.detail


@pytest.mark.parametrize(("sent", "agreed"), [(AES_80, AES_32), (AES_32, AES_80)])
def test_tag_length(sent: str, agreed: str) -> None:
    key = make_key(agreed)
    found = diagnosed(as_profile(key, sent), SrtpReceiver(key))
    assert found.error is SrtpError.TAG_LENGTH
    assert found.detail.startswith(f"the peer sends {sent}")


@pytest.mark.parametrize("ssrc", [SSRC, 77])
def test_another_candidates_key(ssrc: int) -> None:
    other = make_key(GCM_128, seed=3, ssrc=ssrc)
    receiver = SrtpReceiver(make_key(), candidates={"tag A": make_key(), "tag B": other})
    found = refused(receiver.unprotect, SrtpSender(other).protect(rtp(9, ssrc=ssrc)))
    assert (found.error, found.detail) == (SrtpError.OTHER_CANDIDATE, "the key of tag B fits")


def test_clear_rtp() -> None:
    tone = bytes((0x55, 0xD5, 0x80, 0x2A)) * 40
    found = refused(SrtpReceiver(make_key()).unprotect, rtp(9, payload=tone))
    assert found.error is SrtpError.CLEAR_RTP
    assert AES_80 in found.detail


def test_clear_rtcp() -> None:
    clear = encode_compound(
        (ReceiverReport(ssrc=SSRC), SourceDescription.cname(SSRC, "somebody@example.org"))
    )
    assert refused(SrtpReceiver(make_key()).unprotect_rtcp, clear).error is SrtpError.CLEAR_RTP


def test_rollover_counter() -> None:
    found = diagnosed(make_key(roc=1, seq=9), SrtpReceiver(make_key()))
    assert found.error is SrtpError.ROLLOVER_COUNTER
    assert "counter 1, this side is at 0" in found.detail


def test_replay_and_age() -> None:
    sender, receiver = SrtpSender(make_key()), SrtpReceiver(make_key())
    first = sender.protect(rtp(1))
    receiver.unprotect(first)
    assert refused(receiver.unprotect, first).error is SrtpError.REPLAYED
    receiver.unprotect(sender.protect(rtp(3000)))
    assert refused(receiver.unprotect, first).error is SrtpError.TOO_OLD


def test_a_wrong_key_is_an_authentication_failure_counted_per_packet_and_diagnosed_once() -> None:
    receiver, sender = SrtpReceiver(make_key()), SrtpSender(make_key(seed=2))
    for sequence in range(5):
        assert refused(receiver.unprotect, sender.protect(rtp(sequence))).error is SrtpError.AUTHENTICATION
    assert receiver.failures == {SrtpError.AUTHENTICATION: 5}
    assert list(receiver.diagnoses) == [SrtpError.AUTHENTICATION]
    # What is refused does not disturb what is right.
    good = SrtpSender(make_key())
    assert receiver.unprotect(good.protect(rtp(1))) == rtp(1)


def test_a_flipped_bit_anywhere_is_refused() -> None:
    packet = SrtpSender(make_key()).protect(rtp(1))
    receiver = SrtpReceiver(make_key())
    for position in range(len(packet)):
        broken = bytearray(packet)
        broken[position] ^= 0x10
        refused(receiver.unprotect, bytes(broken))
    assert receiver.unprotect(packet) == rtp(1)


def test_sizes() -> None:
    sender, receiver = SrtpSender(make_key()), SrtpReceiver(make_key())
    assert not_sent(sender.protect, b"").error is SrtpError.TOO_SHORT
    assert not_sent(sender.protect, rtp(1, payload=bytes(1400))).error is SrtpError.TOO_LONG
    assert refused(receiver.unprotect, b"").error is SrtpError.TOO_SHORT
    assert refused(receiver.unprotect, bytes(1501)).error is SrtpError.TOO_LONG
    assert refused(receiver.unprotect_rtcp, b"\x80").error is SrtpError.TOO_SHORT


def test_keys_are_not_in_errors_or_reprs() -> None:
    key = make_key()
    receiver = SrtpReceiver(key, candidates={"B": make_key(seed=2)})
    text = (
        str(diagnosed(make_key(seed=2), receiver))
        + repr(receiver.diagnoses)
        + repr(SrtpContext(key, outbound=True))
    )
    for secret in (key.key, key.salt, make_key(seed=2).key):
        assert secret.reveal().hex() not in text
