"""A group on a multicast address: members come and go, and who went hears nothing more."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.media.endpoint import MediaLoop
from sipmikey.media.errors import SrtpError
from sipmikey.media.g711 import PCMA
from sipmikey.media.group import Group, Membership, group_ticket_policy
from sipmikey.media.multicast import multicast_receiver, multicast_sender
from sipmikey.media.srtp import SrtpReceiver, SrtpSender
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.ticket.transfer import TransferResponder
from tests.media.keys import noise_frames, rtp
from tests.ticket.parties import ALICE, KMS, Clock, Kms, environment, policy, request_ticket, resolve_ticket

SSRC = 0x60436043
HOST = "127.0.0.1"
PATIENCE_S = 20.0
FRAMES = noise_frames(400, seed=1)
MEMBERS = [f"sip:member{number}@example.com" for number in range(4)]


@dataclass
class Party:
    """Alice's group with its KMS; every member is reached by a function call."""

    suite: Suite = SUITE_256
    srtp: SrtpPolicy = field(default_factory=lambda: SrtpPolicy.aes_gcm(32))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.kms = Kms(environment(self.clock, "kms"), self.suite)
        self.env = environment(self.clock, "alice")
        self.group = Group(self.env, initiator=ALICE, suite=self.suite, srtp=self.srtp, ssrc=SSRC)
        self.memberships: dict[str, Membership] = {}

    def invite(self, member: str, position: tuple[int, int] | None = None) -> Membership:
        wanted = group_ticket_policy(self.suite, initiator=ALICE, member=member, kms=KMS)
        grant = request_ticket(self.env, self.kms, wanted)
        message = self.group.invite(grant, member, position=position)
        env = environment(self.clock, member)
        transfer = TransferResponder(env, message, identity=member)
        transfer.verify(resolve_ticket(env, self.kms, transfer, member))
        membership = self.memberships[member] = Membership(env, transfer)
        self.group.joined(member, membership.answer)
        return membership

    def carry_updates(self) -> None:
        for member, message in self.group.updates.items():
            self.group.updated(member, self.memberships[member].update(message))


@pytest.mark.parametrize(
    ("suite", "srtp"),
    [
        (SUITE_128, SrtpPolicy.aes_cm(16)),
        (SUITE_256, SrtpPolicy.aes_gcm(32)),
    ],
    ids=["128", "256"],
)
def test_all_members_have_the_senders_key_and_follow_it(suite: Suite, srtp: SrtpPolicy) -> None:
    party = Party(suite, srtp)
    members = [party.invite(name) for name in MEMBERS[:3]]
    assert all(member.key() == party.group.key() for member in members)
    before = party.group.key()
    party.group.remove(MEMBERS[0])
    assert not party.group.complete
    party.carry_updates()
    assert party.group.complete
    assert party.group.members == tuple(MEMBERS[1:3])
    after = party.group.key()
    assert [member.key() == after for member in members] == [False, True, True]
    assert after.key != before.key
    assert after.mki != before.mki
    assert members[0].key() == before


def test_a_late_member_takes_up_the_running_stream() -> None:
    party = Party(SUITE_128, SrtpPolicy.aes_cm(16))
    party.invite(MEMBERS[0])
    sender = SrtpSender(party.group.key())
    for sequence in range(0, 2 * 65536, 1 << 14):
        sender.protect(rtp(sequence, ssrc=SSRC))
    next_sequence = (sender.sequence or 0) + 1
    late = party.invite(MEMBERS[1], (sender.rollover_counter, next_sequence)).key()
    assert (late.roc, late.seq) == (1, next_sequence)
    packet = rtp(next_sequence, ssrc=SSRC)
    assert SrtpReceiver(late).unprotect(sender.protect(packet)) == packet


def test_misuse_is_refused() -> None:
    party = Party()
    with pytest.raises(LocalError, match="no member has been invited"):
        party.group.key()
    with pytest.raises(LocalError, match="is not in the group"):
        party.group.remove(MEMBERS[0])
    with pytest.raises(LocalError, match="has not been invited"):
        party.group.joined(MEMBERS[0], b"")
    with pytest.raises(LocalError, match="no update is under way"):
        party.group.updated(MEMBERS[0], b"")
    forking = request_ticket(party.env, party.kms, policy(responders=(MEMBERS[0],)))
    with pytest.raises(LocalError, match="G 0 and L 1"):
        party.group.invite(forking, MEMBERS[0])
    wanted = group_ticket_policy(SUITE_256, initiator=ALICE, member=MEMBERS[0], kms=KMS)
    party.group.invite(request_ticket(party.env, party.kms, wanted), MEMBERS[0])
    with pytest.raises(LocalError, match="wait or remove"):
        party.group.rekey()


class Heard:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def put(self, timestamp: int, payload: bytes) -> None:
        self.frames.append(payload)


def test_who_was_removed_from_a_multicast_stream_hears_nothing() -> None:
    party = Party()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        address = ("239.255.60.43", probe.getsockname()[1])
    loop = MediaLoop()
    streams: dict[str, RtpStream] = {}
    heard: dict[str, Heard] = {}

    def listen(member: str, position: tuple[int, int] | None = None) -> None:
        heard[member] = Heard()
        streams[member] = RtpStream(codec=PCMA, cname=member, sink=heard[member])
        streams[member].receive_with(party.invite(member, position).key())
        loop.open(streams[member], multicast_receiver(address, HOST))

    for member in MEMBERS[:3]:
        listen(member)
    first, removed, third, added = MEMBERS
    source = FrameSource(FRAMES)
    sender = RtpStream(codec=PCMA, cname=ALICE, source=source)
    sender.send_with(party.group.key())
    loop.open(sender, multicast_sender(HOST)).send_to(address)
    with loop:
        loop.when(lambda: all(streams[m].received >= 10 for m in MEMBERS[:3])).result(PATIENCE_S)
        loop.call(lambda: listen(added, sender.position)).result(PATIENCE_S)
        loop.when(lambda: streams[added].received >= 10).result(PATIENCE_S)

        def remove() -> int:
            party.group.remove(removed)
            party.carry_updates()
            for member in (first, third, added):
                streams[member].receive_with(party.memberships[member].key())
            sender.send_with(party.group.key())
            return sender.sent

        sent_before = loop.call(remove).result(PATIENCE_S)
        loop.when(lambda: sender.sent >= sent_before + 20).result(PATIENCE_S)
        loop.when(lambda: all(streams[m].received >= sent_before + 20 for m in (first, third))).result(
            PATIENCE_S
        )
        loop.when(lambda: sum(streams[removed].statistics().refused.values()) >= 20).result(PATIENCE_S)
    # Every frame under the first key, and not one after it.
    assert heard[removed].frames == list(FRAMES[:sent_before])
    assert set(streams[removed].statistics().refused) == {SrtpError.MKI_UNKNOWN}
    for member in (first, third):
        assert heard[member].frames == list(FRAMES[: len(heard[member].frames)])
        assert streams[member].statistics().refused == {}
    missed = FRAMES.index(heard[added].frames[0])
    assert 10 <= missed < sent_before
    assert heard[added].frames == list(FRAMES[missed : missed + len(heard[added].frames)])
    assert missed + len(heard[added].frames) >= sent_before + 20
