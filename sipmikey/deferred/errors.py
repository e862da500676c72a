"""What can be wrong with a message that was left: its encoding, its packets, its end."""

from __future__ import annotations

from sipmikey.mikey.errors import AuthenticationFailure, MalformedMessage, PeerError


class MalformedDeposit(MalformedMessage):
    """The octets of a deposit do not follow its encoding; ``field`` and ``offset`` say where."""

    reason = "malformed-deposit"


class DisorderedDeposit(MalformedDeposit):
    """Packets are missing, doubled, moved, or of another stream, as their RTP headers show."""

    reason = "disordered-deposit"


class ForgedPacket(AuthenticationFailure):
    """A packet was changed, or is of another message: it does not authenticate under this message's key."""

    reason = "forged-packet"


class IncompleteDeposit(PeerError):
    """The sender's last report, which is authenticated, counts other packets than there are."""

    reason = "incomplete-deposit"
