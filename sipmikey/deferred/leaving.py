"""The sender's side: a ticket that expects no answer, and the deposit made with it. No I/O.

The sender gets a ticket, makes TRANSFER_INIT and SRTP packets, and leaves both at a mailbox.
Nobody answers, so the ticket has F 0, G 0 (hence H 1) and I 0.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipmikey.deferred.deposit import Deposit
from sipmikey.keys.suite import Suite
from sipmikey.media.codecs.codec import frame_ticks
from sipmikey.media.g711 import G711
from sipmikey.media.keying import StreamKey
from sipmikey.media.rtcp.packets import Bye, SenderReport, SourceDescription, encode_compound, ntp_timestamp
from sipmikey.media.rtp import Packetiser
from sipmikey.media.srtp import SrtpSender
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.transfer import TransferInitiator

DEFERRED_FLAGS = TicketFlags.of("DEHNO")

CS_ID = 1
"""The one crypto session of a message."""

_POLICY_NO = 0
_CNAME = "message"


def deferred_ticket_policy(
    suite: Suite, *, initiator: str, addressee: str, kms: str, valid_until: Timestamp
) -> TicketPolicy:
    """Return the policy to ask the KMS for; after *valid_until* the message cannot be opened."""
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
) -> Deposit:
    """Return the deposit that carries *frames* (20 ms each, one or more).

    It ends with an SRTCP report of how many packets there are, so that an end cut off is noticed. Raises
    `LocalError` for a ticket that expects an answer or has no session key.
    """
    if grant.policy.flags.response_sent:
        raise LocalError("F is 1: a deferred message needs a ticket whose Responder sends no TRANSFER_RESP")
    if not grant.keys:
        raise LocalError("the ticket has no session key")
    sequence = int.from_bytes(env.random(2), "big")
    data = SrtpSessionData(ssrc=int.from_bytes(env.random(4), "big"), roc=0, seq=sequence)
    transfer = _transfer(env, grant, data, srtp, initiator=initiator, addressee=addressee)
    session = transfer.established().crypto_session(CS_ID)
    if session is None:
        raise LocalError(f"the transfer has no crypto session {CS_ID}")
    sender = SrtpSender(StreamKey.of(session))
    timestamp = int.from_bytes(env.random(4), "big")
    packetiser = Packetiser(
        ssrc=data.ssrc, payload_type=codec.payload_type, samples=frame_ticks(codec), sequence=sequence,
        timestamp=timestamp,
    )  # fmt: skip
    whole = tuple(frames)
    packets = tuple(sender.protect(packetiser.next_packet(frame)) for frame in whole)
    report = SenderReport(
        ssrc=data.ssrc,
        ntp=ntp_timestamp(env.now_ns()),
        rtp_timestamp=(timestamp + len(whole) * frame_ticks(codec)) & 0xFFFF_FFFF,
        packets=len(whole),
        octets=sum(map(len, whole)) & 0xFFFF_FFFF,
    )
    last = encode_compound((report, SourceDescription.cname(data.ssrc, _CNAME), Bye(ssrcs=(data.ssrc,))))
    return Deposit(transfer_init=transfer.message, packets=packets, closing=sender.protect_rtcp(last))


def _transfer(
    env: Environment,
    grant: TicketGrant,
    data: SrtpSessionData,
    srtp: SrtpPolicy,
    *,
    initiator: str,
    addressee: str,
) -> TransferInitiator:
    """Return TRANSFER_INIT, which describes the crypto session completely: no answer adds to it."""
    entry = GenericIdEntry(
        cs_id=CS_ID,
        policies=(_POLICY_NO,),
        session_data=data.encode(),
        s=data.s,
        spi=grant.keys[0].spi or b"",
    )
    return TransferInitiator.start(
        env,
        grant,
        crypto_sessions=(entry,),
        policies=(srtp.payload(_POLICY_NO),),
        initiator=initiator,
        responder=addressee,
    )
