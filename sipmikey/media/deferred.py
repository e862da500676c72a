"""A protected message for somebody who is offline (RFC 6043 section 3). No I/O.

The caller gets a ticket, makes TRANSFER_INIT and SRTP packets, and leaves both with somebody who keeps them
(the deposit). Nobody answers, so the ticket has F 0, G 0 (hence H 1) and I 0. Later the addressee resolves
the ticket, verifies TRANSFER_INIT and plays the packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sipmikey.keys.suite import Suite
from sipmikey.media.errors import PacketRefused
from sipmikey.media.g711 import FRAME_MS, G711
from sipmikey.media.keying import StreamKey
from sipmikey.media.rtp import MalformedPacket, Packetiser, RtpPacket
from sipmikey.media.rtpdump import RtpDump, RtpDumpPacket
from sipmikey.media.srtp import SrtpReceiver, SrtpSender
from sipmikey.mikey.errors import InvalidTicketPolicy, InvalidTimestamp, LocalError, MalformedMessage
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.transfer import TransferInitiator, TransferResponder

DEFERRED_FLAGS = TicketFlags.of("DEHNO")

_CS_ID = 1
_POLICY_NO = 0
_NS = 1_000_000_000


def deferred_ticket_policy(
    suite: Suite, *, initiator: str, addressee: str, kms: str, valid_until: Timestamp
) -> TicketPolicy:
    """Return the policy to ask the KMS for; after *valid_until* nobody can play the message."""
    return TicketPolicy(
        suite=suite,
        flags=DEFERRED_FLAGS,
        responders=(addressee,),
        initiator=initiator,
        kms=kms,
        valid_until=valid_until,
    )


def leave_message(
    env: Environment,
    grant: TicketGrant,
    frames: Iterable[bytes],
    *,
    codec: G711,
    srtp: SrtpPolicy,
    initiator: str,
    addressee: str,
) -> tuple[bytes, RtpDump]:
    """Return TRANSFER_INIT and the recording of the SRTP packets that carry *frames* (20 ms each).

    Raises `LocalError` for a ticket that expects an answer or has no session key.
    """
    if grant.policy.flags.response_sent:
        raise LocalError("F is 1: a deferred message needs a ticket whose Responder sends no TRANSFER_RESP")
    if not grant.keys:
        raise LocalError("the ticket has no session key")
    ssrc = int.from_bytes(env.random(4), "big")
    sequence = int.from_bytes(env.random(2), "big")
    data = SrtpSessionData(ssrc=ssrc, roc=0, seq=sequence)
    entry = GenericIdEntry(
        cs_id=_CS_ID,
        policies=(_POLICY_NO,),
        session_data=data.encode(),
        s=data.s,
        spi=grant.keys[0].spi or b"",
    )
    transfer = TransferInitiator.start(
        env,
        grant,
        crypto_sessions=(entry,),
        policies=(srtp.payload(_POLICY_NO),),
        initiator=initiator,
        responder=addressee,
    )
    session = transfer.established().crypto_session(_CS_ID)
    if session is None:
        raise LocalError("the transfer has no crypto session 1")
    sender = SrtpSender(StreamKey.of(session))
    packetiser = Packetiser(
        ssrc=ssrc,
        payload_type=codec.payload_type,
        samples=codec.frame_length,
        sequence=sequence,
        timestamp=int.from_bytes(env.random(4), "big"),
    )
    packets = tuple(
        RtpDumpPacket(offset_ms=number * FRAME_MS, packet=sender.protect(packetiser.next_packet(frame)))
        for number, frame in enumerate(frames)
    )
    return transfer.message, RtpDump(packets=packets, start_us=env.now_ns() // 1000)


def read_transfer(env: Environment, message: bytes, *, identity: str, kept_for_s: int) -> TransferResponder:
    """Take up a TRANSFER_INIT that may have waited *kept_for_s* seconds.

    Then its ticket has to be resolved and the transfer verified. Raises what `TransferResponder` raises,
    `InvalidTimestamp` for one from the future or kept longer, and `InvalidTicketPolicy` for a ticket whose
    answer somebody waits for.
    """
    patient = replace(env, clock_skew_s=max(env.clock_skew_s, kept_for_s))
    transfer = TransferResponder(patient, message, identity=identity)
    sent = transfer.timestamp
    if sent.is_clock and sent.unix_ns() > env.now_ns() + env.clock_skew_s * _NS:
        raise InvalidTimestamp("is from the future", field="TRANSFER_INIT T", section="RFC 3830 section 5.4")
    if transfer.policy.flags.response_sent:
        raise InvalidTicketPolicy("F is 1: the caller waits for TRANSFER_RESP", field="TICKET flags")
    return transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a deposit held: frames as (timestamp, payload), and how many packets were refused.

    ``missing`` counts packets between the first and the last sequence number that are not there. Packets
    cut off the end cannot be missed: nothing says how many there were.
    """

    frames: tuple[tuple[int, bytes], ...]
    refused: int
    missing: int


def play_message(transfer: TransferResponder, recording: RtpDump) -> Played:
    """Decrypt the recording of a verified transfer; raise a `PeerError` for one without keys."""
    session = transfer.accept().crypto_session(_CS_ID)
    if session is None:
        raise MalformedMessage("no crypto session 1", field="CS ID map")
    receiver = SrtpReceiver(StreamKey.of(session))
    packets = tuple(_authentic(receiver, recording))
    indices = [packet.sequence for packet in packets]
    span = (indices[-1] - indices[0]) % 65536 + 1 if indices else 0
    late = 0 if session.seq is None or not indices else (indices[0] - session.seq) % 65536
    return Played(
        frames=tuple((packet.timestamp, packet.payload) for packet in packets),
        refused=sum(receiver.failures.values()),
        missing=late + span - len(packets),
    )


def _authentic(receiver: SrtpReceiver, recording: RtpDump) -> Iterator[RtpPacket]:
    for item in recording.packets:
        if item.rtcp:
            continue
        try:
            yield RtpPacket.parse(receiver.unprotect(item.packet))
        except (PacketRefused, MalformedPacket):
            continue
