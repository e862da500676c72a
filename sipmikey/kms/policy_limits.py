"""What a ticket may be like: flags, suites, keys, validity, reuse; adjusting and judging a Ticket Policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from sipmikey.keys.suite import MINIMUM_KEY_LENGTH, SUITE_128, SUITE_256, Suite
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.ticket import TicketFlag, TicketFlags, flag_violations, letters
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.policy import RequestedKey, TicketPolicy

DEFAULT_SALT_BYTES = 14


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

_REPAIRS = (
    (TicketFlag.I, TicketFlag.E),
    (TicketFlag.M, TicketFlag.F),
    (TicketFlag.G, TicketFlag.F),
)
"""(flag, flag it implies): what a forced flag brings with it (RFC 6043 section 6.10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketLimits:
    """Bounds on the tickets of a rule. Lengths in bytes, times in seconds.

    ``suites``: allowed, the preferred first. ``flags``: word by flag; a flag not named is allowed.
    ``key_types``, ``min_key_bytes``, ``max_key_bytes``, ``max_keys``: of the session keys.
    ``max_validity_s``: longest time from now to TRe; ``default_validity_s``: for a request without TRe.
    ``max_rekeying_interval_s``: longest TRr, put in where none is asked; None for no bound.
    ``applications``: allowed IDRapp, None for any. ``responder_key``: seal with the key shared
    with the responder (mode 2) instead of the KMS's own.
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
        on = {flag for flag, word in self.flags.items() if word in (FlagWord.FORCED_ON, FlagWord.REQUIRED)}
        off = {flag for flag, word in self.flags.items() if word in (FlagWord.FORCED_OFF, FlagWord.REFUSED)}
        for flag, implied in _REPAIRS:
            if flag in on and implied in off:
                raise LocalError(f"flags: {flag.name} on implies {implied.name} on (RFC 6043 section 6.10)")
        if TicketFlag.G in off and TicketFlag.H in off:
            raise LocalError("flags: randr_r and randr_i cannot both be off (RFC 6043 section 6.10)")
        if self.responder_key and (TicketFlag.E in on or TicketFlag.I in on):
            raise LocalError('ticket_key = "responder" needs resolve_mandatory and key_forking off')

    @property
    def refuses(self) -> bool:
        """Whether what is outside the limits is refused and not adjusted."""
        return self.otherwise is Otherwise.REFUSE


DEFAULT_LIMITS = TicketLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One property of a ticket that the limits do not allow."""

    field: str
    text: str


def adjust(policy: TicketPolicy, limits: TicketLimits, *, now_s: int) -> tuple[TicketPolicy, list[str]]:
    """Return *policy* brought within *limits* as far as they force or adjust, and what was changed.

    What was left open is filled in: keys (one TGK of the suite's length) without a word, since leaving them
    out leaves the choice to the KMS; the end of validity as a change, since leaving it out means no end.
    """
    changes: list[str] = []
    flags = _forced_flags(policy.flags, limits)
    if flags.bits != policy.flags.bits & ~TicketFlag.K:
        changes.append(f"flags {letters(policy.flags.bits & ~TicketFlag.K)} became {flags}")
    policy = replace(policy, flags=flags)
    if policy.suite not in limits.suites and not limits.refuses:
        changes.append(f"suite became {limits.suites[0].name}")
        policy = replace(policy, suite=limits.suites[0])
    policy, made = _adjust_keys(policy, limits)
    changes += made
    policy, made = _adjust_times(policy, limits, now_s)
    return policy, changes + made


def _forced_flags(flags: TicketFlags, limits: TicketLimits) -> TicketFlags:
    bits = (flags.bits | TicketFlag.D | TicketFlag.N | TicketFlag.O) & ~TicketFlag.K
    for flag, word in limits.flags.items():
        if word is FlagWord.FORCED_ON:
            bits |= flag
        elif word is FlagWord.FORCED_OFF:
            bits &= ~flag
    off = {flag for flag, word in limits.flags.items() if word is FlagWord.FORCED_OFF}
    for flag, implied in _REPAIRS:
        if bits & flag and not bits & implied:
            bits = bits & ~flag if implied in off else bits | implied
    if not bits & (TicketFlag.G | TicketFlag.H):
        bits |= TicketFlag.H if TicketFlag.H not in off else TicketFlag.G | TicketFlag.F
    if flag_violations(bits):
        return flags.with_flag(TicketFlag.K, False)
    return TicketFlags(TicketFlag(bits))


def _adjust_keys(policy: TicketPolicy, limits: TicketLimits) -> tuple[TicketPolicy, list[str]]:
    longest = min(policy.suite.key_length, limits.max_key_bytes)
    if not policy.requested_keys:
        kind = limits.default_key_type
        key = RequestedKey(
            key_type=kind,
            length=max(longest, limits.min_key_bytes),
            salt_length=DEFAULT_SALT_BYTES if kind.has_salt else 0,
        )
        return _with_response(replace(policy, requested_keys=(key,)), [])
    if limits.refuses:
        return policy, []
    keys = policy.requested_keys[: limits.max_keys]
    changes = [] if len(keys) == len(policy.requested_keys) else [f"keys reduced to {limits.max_keys}"]
    adjusted = []
    for key in keys:
        kind = key.key_type if key.key_type in limits.key_types else limits.default_key_type
        salt = (key.salt_length or DEFAULT_SALT_BYTES) if kind.has_salt else 0
        length = min(max(key.length, limits.min_key_bytes), longest)
        fitted = RequestedKey(key_type=kind, length=length, salt_length=salt)
        if fitted != key:
            changes.append(f"key {key.key_type.name} of {key.length} bytes became {kind.name} of {length}")
        adjusted.append(fitted)
    return _with_response(replace(policy, requested_keys=tuple(adjusted)), changes)


def _with_response(policy: TicketPolicy, changes: list[str]) -> tuple[TicketPolicy, list[str]]:
    """A forked TGK needs TRANSFER_RESP (RFC 6043 section 6.10)."""
    forks_tgk = policy.flags.key_forking and any(key.key_type.is_tgk for key in policy.requested_keys)
    if not forks_tgk or policy.flags.response_sent:
        return policy, changes
    return replace(policy, flags=policy.flags.with_flag(TicketFlag.F, True)), [
        *changes,
        "flag F set for a forked TGK",
    ]


def _adjust_times(policy: TicketPolicy, limits: TicketLimits, now_s: int) -> tuple[TicketPolicy, list[str]]:
    changes: list[str] = []
    latest = now_s + limits.max_validity_s
    if policy.valid_until is None:
        until = _start(policy, now_s) + limits.default_validity_s
        policy = replace(policy, valid_until=Timestamp.ntp_utc_32(min(until, latest)))
        changes.append(f"an end of validity after {limits.default_validity_s} s was set")
    elif _ceil_s(policy.valid_until) > latest and not limits.refuses:
        policy = replace(policy, valid_until=Timestamp.ntp_utc_32(latest))
        changes.append(f"validity shortened to {limits.max_validity_s} s")
    bound = limits.max_rekeying_interval_s
    interval = policy.rekeying_interval_s
    if bound is not None and (interval is None or (interval > bound and not limits.refuses)):
        policy = replace(policy, rekeying_interval_s=bound)
        changes.append(f"rekeying every {bound} s was set")
    return policy, changes


def _start(policy: TicketPolicy, now_s: int) -> int:
    return now_s if policy.valid_from is None else max(now_s, policy.valid_from.unix_ns() // 1_000_000_000)


def _ceil_s(timestamp: Timestamp) -> int:
    return -(-timestamp.unix_ns() // 1_000_000_000)


def breaches(
    policy: TicketPolicy,
    keys: Sequence[RequestedKey],
    limits: TicketLimits,
    *,
    now_s: int,
) -> list[Breach]:
    """Return what in a ticket with *policy* and *keys* the *limits* do not allow."""
    found = _flag_breaches(policy.flags, limits)
    if policy.suite not in limits.suites:
        names = ", ".join(suite.name for suite in limits.suites)
        found.append(Breach(field="PRF Func", text=f"suite {policy.suite.name} is not allowed, only {names}"))
    found += _key_breaches(policy, keys, limits)
    if policy.valid_until is None:
        found.append(Breach(field="TRe", text="the ticket has no end of validity"))
    elif _ceil_s(policy.valid_until) > now_s + limits.max_validity_s:
        found.append(Breach(field="TRe", text=f"valid for more than {limits.max_validity_s} s from now"))
    bound, interval = limits.max_rekeying_interval_s, policy.rekeying_interval_s
    if bound is not None and (interval is None or interval > bound):
        found.append(Breach(field="TRr", text=f"rekeying must be every {bound} s or more often"))
    if limits.applications is not None:
        found += [
            Breach(field="IDRapp", text=f"application {name!r} is not allowed")
            for name in policy.applications
            if name not in limits.applications
        ]
        if not policy.applications:
            found.append(
                Breach(field="IDRapp", text="the ticket is for any application; name the allowed ones")
            )
    return found


def _flag_breaches(flags: TicketFlags, limits: TicketLimits) -> list[Breach]:
    found = []
    for name, flag in FLAG_NAMES.items():
        word = limits.flags.get(flag, FlagWord.ALLOWED)
        if flags.bits & flag and word in (FlagWord.FORCED_OFF, FlagWord.REFUSED):
            found.append(Breach(field="flags", text=f"{flag.name} ({name}) is {word.value}"))
        if not flags.bits & flag and word in (FlagWord.FORCED_ON, FlagWord.REQUIRED):
            found.append(Breach(field="flags", text=f"{flag.name} ({name}) is {word.value} and not set"))
    return found


def _key_breaches(policy: TicketPolicy, keys: Sequence[RequestedKey], limits: TicketLimits) -> list[Breach]:
    found = []
    if len(keys) > limits.max_keys:
        found.append(Breach(field="KEMAC", text=f"{len(keys)} keys, {limits.max_keys} are allowed"))
    for key in keys:
        if key.key_type not in limits.key_types:
            found.append(Breach(field="KEMAC", text=f"keys of type {key.key_type.name} are not allowed"))
        shortest, longest = limits.min_key_bytes, min(limits.max_key_bytes, policy.suite.key_length)
        if not shortest <= key.length <= longest:
            found.append(
                Breach(
                    field="KEMAC", text=f"a key of {key.length} bytes; {shortest} to {longest} are allowed"
                )
            )
        if key.salt_length > 32:
            found.append(Breach(field="KEMAC", text=f"a salt of {key.salt_length} bytes; 32 are allowed"))
    return found


__all__ = [
    "DEFAULT_LIMITS", "FLAG_NAMES", "Breach", "FlagWord", "Otherwise", "TicketLimits", "adjust", "breaches",
]  # fmt: skip
