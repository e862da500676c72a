"""Announce to a multicast group; a member is added, one is removed and hears nothing more.

    announce.py [--wav announcement.wav] [--interface 127.0.0.1] [--group 239.255.60.43:5004]

Everything runs in this process but the KMS, which it starts: the announcer, four members, and the signalling
between them, which here is a function call. Exit status: 0 when who was removed heard nothing after it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sipmikey.keys.suite import SUITE_256
from sipmikey.kms.client import HttpKmsClient
from sipmikey.media.endpoint import MediaLoop
from sipmikey.media.g711 import PCMA
from sipmikey.media.group import Group, Membership, group_ticket_policy
from sipmikey.media.multicast import multicast_receiver, multicast_sender
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource, read_frames
from sipmikey.mikey import Secret, SrtpPolicy
from sipmikey.system import environment
from sipmikey.testing.kms import TestKms
from sipmikey.ticket import PreSharedKey, TicketGrant, TicketRequest, TicketResolve, TransferResponder

ANNOUNCER = "sip:announcer@example.com"
MEMBERS = tuple(f"sip:{name}@example.com" for name in ("bob", "carol", "dave", "erin"))
SSRC = 0x60436043
WAIT_S = 10.0
SOME = 25


class Listener:
    """What a member hears."""

    def __init__(self) -> None:
        self.frames = 0

    def put(self, timestamp: int, payload: bytes) -> None:
        self.frames += 1


@dataclass
class Member:
    membership: Membership
    stream: RtpStream
    listener: Listener


class Signalling:
    """Asks the KMS, and carries messages between the announcer and the members."""

    def __init__(self, kms: TestKms) -> None:
        self.kms = kms
        self.env = environment()

    def credential(self, identity: str) -> PreSharedKey:
        user = self.kms.user(identity)
        return PreSharedKey(key=Secret(bytes.fromhex(user.psk)), key_id=user.psk_id.encode())

    def ask(self, message: bytes) -> bytes:
        async def exchange() -> bytes:
            async with HttpKmsClient(self.kms.url) as client:
                return await client.request(message)

        return asyncio.run(exchange())

    def ticket_for(self, member: str) -> TicketGrant:
        self.kms.user(member)
        wanted = group_ticket_policy(SUITE_256, initiator=ANNOUNCER, member=member, kms=self.kms.identity)
        request = TicketRequest.start(
            self.env,
            policy=wanted,
            credential=self.credential(ANNOUNCER),
            identity=ANNOUNCER,
            kms=self.kms.identity,
        )
        return request.receive(self.ask(request.message))

    def join(self, member: str, transfer_init: bytes) -> Membership:
        transfer = TransferResponder(self.env, transfer_init, identity=member)
        resolve = TicketResolve.start(
            self.env,
            ticket=transfer.ticket,
            credential=self.credential(member),
            identity=member,
            kms=self.kms.identity,
        )
        transfer.verify(resolve.receive(self.ask(resolve.message)))
        return Membership(self.env, transfer)


def tone() -> tuple[bytes, ...]:
    samples = [int(8000 * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(8000)]
    encoded = PCMA.encode(struct.pack(f"={len(samples)}h", *samples))
    return tuple(encoded[start : start + 160] for start in range(0, len(encoded), 160))


def announce(options: argparse.Namespace, signalling: Signalling, loop: MediaLoop) -> bool:
    host, _, port = options.group.partition(":")
    address = (host, int(port))
    group = Group(signalling.env, initiator=ANNOUNCER, suite=SUITE_256, srtp=SrtpPolicy.aes_gcm(), ssrc=SSRC)
    frames = read_frames(options.wav, PCMA) if options.wav else tone()
    announcer = RtpStream(codec=PCMA, cname=ANNOUNCER, source=FrameSource(frames, loop=True))
    members: dict[str, Member] = {}

    def add(name: str) -> None:
        membership = signalling.join(
            name, group.invite(signalling.ticket_for(name), name, position=announcer.position)
        )
        group.joined(name, membership.answer)
        listener = Listener()
        stream = RtpStream(codec=PCMA, cname=name, sink=listener)
        stream.receive_with(membership.key())
        members[name] = Member(membership, stream, listener)
        loop.open(stream, multicast_receiver(address, options.interface))

    def heard() -> str:
        return ", ".join(f"{name} {member.listener.frames}" for name, member in members.items())

    for name in MEMBERS[:3]:
        add(name)
    announcer.send_with(group.key())
    loop.open(announcer, multicast_sender(options.interface)).send_to(address)
    loop.start()
    loop.when(lambda: all(m.listener.frames >= SOME for m in members.values())).result(WAIT_S)
    print(f"three members: frames heard: {heard()}")

    add(MEMBERS[3])
    loop.when(lambda: members[MEMBERS[3]].listener.frames >= SOME).result(WAIT_S)
    print(f"{MEMBERS[3]} added: {heard()}")

    removed = MEMBERS[1]

    group.remove(removed)
    for name, message in group.updates.items():
        group.updated(name, members[name].membership.update(message))

    def switch() -> int:
        for name in group.members:
            members[name].stream.receive_with(members[name].membership.key())
        announcer.send_with(group.key())
        return members[removed].listener.frames

    before = loop.call(switch).result(WAIT_S)
    loop.when(lambda: sum(members[removed].stream.statistics().refused.values()) >= SOME).result(WAIT_S)
    after = members[removed].listener.frames
    print(f"{removed} removed: {heard()}")
    print(f"{removed} heard {after - before} frames after the new key was in use, and refused:")
    print("\n".join(f"  {line}" for line in members[removed].stream.statistics().diagnoses))
    # A frame under the old key may still have been on its way.
    return after - before <= 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wav", type=Path, help="what to announce; a tone by default")
    parser.add_argument("--interface", default="127.0.0.1", help="IPv4 address of the interface")
    parser.add_argument("--group", default="239.255.60.43:5004", help="multicast address and port")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kms = TestKms(Path(folder))
        kms.start()
        try:
            loop = MediaLoop()
            try:
                return 0 if announce(options, Signalling(kms), loop) else 1
            finally:
                loop.close()
        finally:
            kms.stop()


if __name__ == "__main__":
    sys.exit(main())
