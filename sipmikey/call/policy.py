"""What the user demands of a call's protection, and what that allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sipmikey.ticket.identity import aliases


class SecurityMode(StrEnum):
    """``REQUIRED``: MIKEY-TICKET or no call. ``PREFERRED``: offer it, and fall back to clear media only
    where ``CallPolicy.fallback`` says so. ``OFF``: never offer it, media in clear."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    OFF = "off"


_STRICTNESS = (SecurityMode.OFF, SecurityMode.PREFERRED, SecurityMode.REQUIRED)


class Fallback(StrEnum):
    """When ``preferred`` may end in clear media.

    ``NEVER``: it may not (the offer of a peer without key management is refused as under ``required``).
    ``INCOMING``: a call that arrives without key management is taken in clear; outgoing calls are not.
    ``BOTH``: as well, an outgoing call whose protected offer was refused with 488 or 606 is repeated in
    clear. A refusal can be forged by anyone who can drop a line, so this is never the default.
    """

    NEVER = "never"
    INCOMING = "incoming"
    BOTH = "both"


class Retarget(StrEnum):
    """What happens where another identity answers than the one dialled, or is to be called instead (3xx).

    ``ASK``: the user decides before anything of it is heard, or anything is sent to it. It is shown in any
    case, as the KMS vouches for it.
    """

    ACCEPT = "accept"
    ASK = "ask"
    REFUSE = "refuse"


class ForkRule(StrEnum):
    """What becomes of a call that reaches several devices under a ticket with the same keys for all (I is 0).

    ``BIND``: the device that answers first has it. ``REFUSE``: it ends when a second device is heard of.
    """

    BIND = "bind"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """What the user demands of calls, with overrides per contact.

    ``alternative``: ``none``, or the word of a keying (`sipmikey.call.keying.known`) that may key calls under
    ``preferred`` where the peer has no MIKEY-TICKET; never under ``required``. A lack of MIKEY-TICKET can be
    feigned by anyone who can drop a line.
    ``contacts`` maps a canonical URI (``sip:bob@example.com``) to the security for calls with it.
    ``groups``: canonical URIs of groups: ``retarget`` does not apply to a member that answers, for whom the
    KMS vouches. ``transfer``: let calls be transferred: call whom the peer of a call asks us to call (REFER),
    and let another call take the place of one (Replaces). Each such call has a ticket of its own and obeys
    this policy. ``unprotected_in_conference``: allow a conference of calls in clear, or whose keys
    others can know, with calls whose security is ``required``: what the latter say then leaves unprotected.
    """

    security: SecurityMode = SecurityMode.REQUIRED
    fallback: Fallback = Fallback.NEVER
    alternative: str = "none"
    contacts: Mapping[str, SecurityMode] = field(default_factory=dict)
    retarget: Retarget = Retarget.ACCEPT
    groups: frozenset[str] = frozenset()
    forked: ForkRule = ForkRule.BIND
    transfer: bool = False
    unprotected_in_conference: bool = False

    def security_for(self, uri: str, *, least: SecurityMode = SecurityMode.OFF) -> SecurityMode:
        """Return what calls with *uri* (canonical) demand, or *least* where that is stricter.

        A contact that may be the same party under another form (sips, a port, the case of the user, a
        telephone number) counts where it demands more, never where it demands less.
        """
        names = aliases(uri)
        similar = (mode for contact, mode in self.contacts.items() if aliases(contact) & names)
        return max(self.contacts.get(uri, self.security), least, *similar, key=_STRICTNESS.index)
