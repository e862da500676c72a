"""Messages left, without mailbox and HTTP: a KMS, its subscribers, and deposits of a second."""

from __future__ import annotations

from pathlib import Path

from sipmikey.deferred.deposit import Deposit
from sipmikey.deferred.leaving import deferred_ticket_policy, leave_message
from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.media.g711 import PCMA
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.request import TicketGrant
from tests.kms.domain import KMS, Domain, subscriber, uri
from tests.media.keys import noise_frames

ALICE, BOB = uri("alice"), uri("bob")
FRAMES = tuple(noise_frames(30, seed=5))
HOUR = 3600


def domain(folder: Path) -> Domain:
    """A KMS of alice, bob, and one who keeps messages."""
    people = [subscriber("alice"), subscriber("bob"), subscriber("voicemail")]
    return Domain.make(folder, subscribers=people)


def ticket(
    kms: Domain, *, to: str = BOB, sender: str = "alice", suite: Suite = SUITE_256, valid_s: int = 20 * HOUR
) -> TicketGrant:
    until = Timestamp.ntp_utc_32(kms.clock.seconds() + valid_s)
    policy = deferred_ticket_policy(suite, initiator=uri(sender), addressee=to, kms=KMS, valid_until=until)
    return kms.ask(sender, policy=policy)


def left(
    kms: Domain,
    grant: TicketGrant | None = None,
    *,
    srtp: SrtpPolicy | None = None,
    to: str = BOB,
    sender: str = "alice",
) -> Deposit:
    """A message with a ticket of its own, or with *grant*."""
    grant = grant or ticket(kms, to=to, sender=sender)
    return leave_message(
        kms.env,
        grant,
        FRAMES,
        codec=PCMA,
        srtp=srtp or SrtpPolicy.aes_gcm(grant.policy.suite.key_length),
        initiator=uri(sender),
        addressee=to,
    )
