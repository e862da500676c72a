"""The four modes of MIKEY-TICKET (RFC 6043 section 4.1.1): a ticket's flags say which one it is."""

from __future__ import annotations

from enum import StrEnum

from sipmikey.mikey.ticket import TicketFlag, TicketFlags
from sipmikey.ticket.policy import FULL_MODE

_D, _E, _I, _J = TicketFlag.D, TicketFlag.E, TicketFlag.I, TicketFlag.J


class Mode(StrEnum):
    """The party that makes the ticket, and the party that opens it.

    ``FULL`` (mode 1): the KMS makes it and resolves it. ``KERBEROS`` (2): the KMS makes it and the Responder
    opens it with a key shared with the KMS. ``OTWAY_REES`` (3): the Initiator makes it with a key shared with
    the KMS, which resolves it. ``PRESHARED`` (4): the Initiator makes it with a key shared with the
    Responder, who opens it; no KMS is asked.
    """

    FULL = "full"
    KERBEROS = "kerberos"
    OTWAY_REES = "otway-rees"
    PRESHARED = "preshared"

    @property
    def made_by_kms(self) -> bool:
        """True if the Initiator asks the KMS for the ticket (D)."""
        return self in (Mode.FULL, Mode.KERBEROS)

    @property
    def resolved_by_kms(self) -> bool:
        """True if the Responder must ask the KMS about the ticket (E)."""
        return self in (Mode.FULL, Mode.OTWAY_REES)


def mode_of(flags: TicketFlags) -> Mode:
    """Return the mode of a ticket with *flags*."""
    if flags.kms_generated:
        return Mode.FULL if flags.resolve_mandatory else Mode.KERBEROS
    return Mode.OTWAY_REES if flags.resolve_mandatory else Mode.PRESHARED


def flags_for(mode: Mode, *, key_forking: bool = True, reuse: bool = False) -> TicketFlags:
    """Return the flags of a ticket for a call in *mode*.

    *key_forking* (I) gives each answering device keys of its own. It needs the Ticket Resolve exchange, so
    modes without one never have it. *reuse* (J) asks that the ticket may serve several calls.
    """
    bits = FULL_MODE.bits
    if not mode.made_by_kms:
        bits &= ~_D
    if not mode.resolved_by_kms:
        bits &= ~(_E | _I)
    elif not key_forking:
        bits &= ~_I
    return TicketFlags(bits | _J if reuse else bits)


def limits_of(mode: Mode, *, key_forking: bool = True) -> tuple[str, ...]:
    """Return sentences about what calls in *mode* lack; empty where they lack nothing."""
    told = []
    if not mode.resolved_by_kms:
        told.append("the KMS is not asked by the callee: it cannot refuse the call when it is answered")
    if not mode.made_by_kms:
        told.append("the caller makes the ticket: the KMS cannot refuse it when the call is made")
    if not mode.resolved_by_kms or not key_forking:
        told.append("all devices of the callee would get the same keys: the first that answers has the call")
    return tuple(told)
