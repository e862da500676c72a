"""What a ticket may be like: flags, suites, keys, validity, reuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from sipmikey.keys.suite import MINIMUM_KEY_LENGTH, SUITE_128, SUITE_256, Suite
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.ticket import TicketFlag


class FlagWord(StrEnum):
    """What a policy says about one flag."""

    ALLOWED = "allowed"
    """As asked."""
    FORCED_ON = "forced-on"
    """Set in every ticket, whatever was asked."""
    FORCED_OFF = "forced-off"
    """Clear in every ticket, whatever was asked."""
    REQUIRED = "required"
    """A request without it is refused."""
    REFUSED = "refused"
    """A request with it is refused."""


class Otherwise(StrEnum):
    """What happens to a request outside the limits on suites, keys and validity."""

    ADJUST = "adjust"
    REFUSE = "refuse"


FLAG_NAMES: Mapping[str, TicketFlag] = MappingProxyType(
    {
        "resolve_mandatory": TicketFlag.E,
        "response_sent": TicketFlag.F,
        "randr_r": TicketFlag.G,
        "randr_i": TicketFlag.H,
        "key_forking": TicketFlag.I,
        "reuse": TicketFlag.J,
        "initiator_keys": TicketFlag.L,
        "responder_keys": TicketFlag.M,
    }
)
"""Flags a policy may speak of. D, K, N and O follow from how the KMS makes tickets."""

FLAG_REPAIRS = (
    (int(TicketFlag.I), int(TicketFlag.E)),
    (int(TicketFlag.M), int(TicketFlag.F)),
    (int(TicketFlag.G), int(TicketFlag.F)),
)
"""(flag, flag it implies): what a forced flag brings with it (RFC 6043 section 6.10)."""


_MASKS = {
    "forced_on": (FlagWord.FORCED_ON,),
    "forced_off": (FlagWord.FORCED_OFF,),
    "must_set": (FlagWord.FORCED_ON, FlagWord.REQUIRED),
    "must_clear": (FlagWord.FORCED_OFF, FlagWord.REFUSED),
}


def _mask(flags: Mapping[TicketFlag, FlagWord], words: Sequence[FlagWord]) -> int:
    return sum(int(flag) for flag, word in flags.items() if word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketLimits:
    """Bounds on the tickets of a rule. Lengths in bytes, times in seconds.

    ``suites``: allowed, the preferred first. ``flags``: word by flag; a flag not named is allowed.
    ``key_types``, ``min_key_bytes``, ``max_key_bytes``, ``max_keys``: of the session keys.
    ``max_validity_s``: longest time from now to TRe; ``default_validity_s``: for a request without TRe.
    ``max_rekeying_interval_s``: longest TRr, put in where none is asked; None for no bound.
    ``applications``: allowed IDRapp, None for any. ``responder_key``: seal with the key shared
    with the responder (mode 2) instead of the KMS's own. The masks that follow from ``flags`` are what is
    set or cleared in a request, and what must be set or clear in a ticket.
    """

    suites: tuple[Suite, ...] = (SUITE_256, SUITE_128)
    flags: Mapping[TicketFlag, FlagWord] = field(default_factory=lambda: MappingProxyType({}))
    key_types: frozenset[KeyDataType] = frozenset(kind for kind in KeyDataType if kind.is_session_key)
    default_key_type: KeyDataType = KeyDataType.TGK
    min_key_bytes: int = MINIMUM_KEY_LENGTH
    max_key_bytes: int = 32
    max_keys: int = 8
    max_validity_s: int = 86_400
    default_validity_s: int = 3_600
    max_rekeying_interval_s: int | None = None
    applications: frozenset[str] | None = None
    otherwise: Otherwise = Otherwise.ADJUST
    responder_key: bool = False
    forced_on: int = field(init=False, repr=False, compare=False)
    forced_off: int = field(init=False, repr=False, compare=False)
    must_set: int = field(init=False, repr=False, compare=False)
    must_clear: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.suites:
            raise LocalError("suites: at least one must be allowed")
        if self.default_key_type not in self.key_types:
            raise LocalError(f"default_key_type {self.default_key_type.name} is not among key_types")
        if not MINIMUM_KEY_LENGTH <= self.min_key_bytes <= self.max_key_bytes:
            raise LocalError(
                f"min_key_bytes is {MINIMUM_KEY_LENGTH} or more, and max_key_bytes not less than it"
            )
        if not 0 < self.default_validity_s <= self.max_validity_s:
            raise LocalError("default_validity_s is more than 0, and not more than max_validity_s")
        if self.max_keys < 1:
            raise LocalError("max_keys is 1 or more")
        for name, words in _MASKS.items():
            object.__setattr__(self, name, _mask(self.flags, words))
        for flag, implied in FLAG_REPAIRS:
            if flag & self.must_set and implied & self.must_clear:
                one, other = TicketFlag(flag).name, TicketFlag(implied).name
                raise LocalError(f"flags: {one} on implies {other} on (RFC 6043 section 6.10)")
        if self.must_clear & TicketFlag.G and self.must_clear & TicketFlag.H:
            raise LocalError("flags: randr_r and randr_i cannot both be off (RFC 6043 section 6.10)")
        if self.responder_key and self.must_set & (TicketFlag.E | TicketFlag.I):
            raise LocalError('ticket_key = "responder" needs resolve_mandatory and key_forking off')

    @property
    def refuses(self) -> bool:
        """True where what is outside the limits is refused and not adjusted."""
        return self.otherwise is Otherwise.REFUSE


DEFAULT_LIMITS = TicketLimits()
