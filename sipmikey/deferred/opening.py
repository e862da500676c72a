"""The addressee's side: TRANSFER_INIT taken up late, and the packets opened all together or not. No I/O."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from sipmikey.deferred.deposit import Deposit
from sipmikey.deferred.errors import DisorderedDeposit, ForgedPacket, IncompleteDeposit, MalformedDeposit
from sipmikey.deferred.leaving import CS_ID
from sipmikey.media.codecs.codec import FRAME_MS, frame_samples
from sipmikey.media.errors import PacketRefused
from sipmikey.media.g711 import G711, PCMA, PCMU
from sipmikey.media.keying import StreamKey
from sipmikey.media.rtcp.packets import Bye, SenderReport, parse_compound
from sipmikey.media.rtp import MalformedPacket, RtpPacket
from sipmikey.media.srtp import SrtpReceiver
from sipmikey.mikey.errors import InvalidTicketPolicy, InvalidTimestamp, MalformedMessage
from sipmikey.ticket.bundle import CryptoSession
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.transfer import TransferResponder

_NS = 1_000_000_000
_SEQ_MASK = 0xFFFF
_CODECS = {codec.payload_type: codec for codec in (PCMU, PCMA)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMessage:
    """``frames``: 20 ms each, encoded by ``codec``. ``sender``: whom the KMS vouches for."""

    sender: str
    codec: G711
    frames: tuple[bytes, ...]

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return len(self.frames) * FRAME_MS / 1000


def read_transfer(env: Environment, message: bytes, *, identity: str, kept_for_s: int) -> TransferResponder:
    """Take up a TRANSFER_INIT that may have waited *kept_for_s* seconds.

    Then its ticket has to be resolved and the transfer verified. Raises what `TransferResponder` raises,
    `TicketNotValid` for a ticket that has expired meanwhile, `InvalidTimestamp` for a message from the future
    or kept longer, and `InvalidTicketPolicy` for a ticket whose sender waits for an answer.
    """
    patient = replace(env, clock_skew_s=max(env.clock_skew_s, kept_for_s))
    transfer = TransferResponder(patient, message, identity=identity)
    sent = transfer.timestamp
    if sent.is_clock and sent.unix_ns() > env.now_ns() + env.clock_skew_s * _NS:
        raise InvalidTimestamp("is from the future", field="TRANSFER_INIT T", section="RFC 3830 section 5.4")
    if transfer.policy.flags.response_sent:
        raise InvalidTicketPolicy("F is 1: the caller waits for TRANSFER_RESP", field="TICKET flags")
    return transfer


def open_message(transfer: TransferResponder, deposit: Deposit) -> OpenedMessage:
    """Decrypt the packets of a verified transfer: all of them, or none.

    Raises `ForgedPacket` for a packet changed or of another message, `DisorderedDeposit` where some are
    missing or moved, `IncompleteDeposit` where the sender counted other packets, and `MalformedDeposit` for a
    codec or report that is not understood.
    """
    session = transfer.accept().crypto_session(CS_ID)
    if session is None:
        raise MalformedMessage(f"no crypto session {CS_ID}", field="CS ID map")
    receiver = SrtpReceiver(StreamKey.of(session))
    _check_sequence(session, deposit)
    packets = tuple(
        _authentic(receiver, packet, number) for number, packet in enumerate(deposit.packets, start=1)
    )
    _check_report(receiver, deposit.closing, packets)
    codec = _CODECS.get(packets[0].payload_type)
    if codec is None:
        raise MalformedDeposit(f"payload type {packets[0].payload_type} is not G.711", field="packet 1")
    for number, packet in enumerate(packets, start=1):
        if len(packet.payload) != frame_samples(codec):
            raise MalformedDeposit(
                f"{len(packet.payload)} octets are not one frame of {FRAME_MS} ms", field=f"packet {number}"
            )
    return OpenedMessage(
        sender=transfer.initiator, codec=codec, frames=tuple(packet.payload for packet in packets)
    )


def _check_sequence(session: CryptoSession, deposit: Deposit) -> None:
    """Check that the packets begin where TRANSFER_INIT says, and follow one another."""
    sequences = [int.from_bytes(packet[2:4], "big") for packet in deposit.packets]
    if session.seq is not None and sequences[0] != session.seq:
        missing = (sequences[0] - session.seq) & _SEQ_MASK
        raise DisorderedDeposit(f"is not the first: {missing} before it are missing", field="packet 1")
    for number, (before, sequence) in enumerate(itertools.pairwise(sequences), start=2):
        if sequence != (before + 1) & _SEQ_MASK:
            raise DisorderedDeposit(
                f"has sequence number {sequence} after {before}", field=f"packet {number}"
            )


def _authentic(receiver: SrtpReceiver, packet: bytes, number: int) -> RtpPacket:
    try:
        return RtpPacket.parse(receiver.unprotect(packet))
    except PacketRefused as error:
        raise ForgedPacket(f"does not authenticate ({error.error})", field=f"packet {number}") from None
    except MalformedPacket as error:
        raise MalformedDeposit(str(error), field=f"packet {number}") from None


def _check_report(receiver: SrtpReceiver, closing: bytes, packets: tuple[RtpPacket, ...]) -> None:
    """Check that the authenticated report counts the packets that are there."""
    field = f"packet {len(packets) + 1}"
    try:
        found = parse_compound(receiver.unprotect_rtcp(closing))
    except PacketRefused as error:
        raise ForgedPacket(f"does not authenticate ({error.error})", field=field) from None
    except MalformedPacket as error:
        raise MalformedDeposit(str(error), field=field) from None
    report = found[0]
    if not isinstance(report, SenderReport) or not any(isinstance(item, Bye) for item in found):
        raise MalformedDeposit("is not a sender report with BYE", field=field)
    octets = sum(len(packet.payload) for packet in packets) & 0xFFFF_FFFF
    if (report.packets, report.octets) != (len(packets), octets):
        raise IncompleteDeposit(
            f"the sender made {report.packets} packets, and {len(packets)} are there", field="deposit"
        )
