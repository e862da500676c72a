"""Bringing a desired Ticket Policy within limits, and judging that of a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sipmikey.keys.suite import Suite
from sipmikey.kms.policy.limits import FLAG_NAMES, FLAG_REPAIRS, TicketLimits
from sipmikey.mikey.ticket import TicketFlag, TicketFlags, flag_violations, letters
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.key_rules import longest_session_key
from sipmikey.ticket.policy import RequestedKey, TicketPolicy

DEFAULT_SALT_BYTES = 14
MAX_SALT_BYTES = 32

# Plain integers: the arithmetic of IntFlag costs more than all else here.
_ALWAYS = int(TicketFlag.D | TicketFlag.N | TicketFlag.O)
_F, _G, _H, _I, _K = (
    int(flag) for flag in (TicketFlag.F, TicketFlag.G, TicketFlag.H, TicketFlag.I, TicketFlag.K)
)
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One property of a ticket that the limits do not allow."""

    field: str
    text: str


def adjust(policy: TicketPolicy, limits: TicketLimits, *, now_s: int) -> tuple[TicketPolicy, list[str]]:
    """Return *policy* brought within *limits* as far as they force or adjust, and what was changed.

    What was left open is filled in: keys (one TGK of the suite's length) silently, since leaving them
    out leaves the choice to the KMS; the end of validity as a change, since leaving it out means no end.
    """
    changes: list[str] = []
    fields: dict[str, Any] = {}
    asked = int(policy.flags.bits)
    bits = _forced_bits(asked, limits.forced_on, limits.forced_off)
    suite = policy.suite
    if suite not in limits.suites and not limits.refuses:
        suite = fields["suite"] = limits.suites[0]
        changes.append(f"suite became {suite.name}")
    keys = _fitting_keys(policy.requested_keys, suite, limits, changes)
    if keys is not policy.requested_keys:
        fields["requested_keys"] = keys
    if bits & _I and not bits & _F and any(key.key_type.is_tgk for key in keys):
        bits |= _F  # a forked TGK needs TRANSFER_RESP (RFC 6043 section 6.10)
    if bits != asked:
        fields["flags"] = TicketFlags(TicketFlag(bits))
        if bits != asked & ~_K:
            changes.append(f"flags {letters(TicketFlag(asked & ~_K))} became {letters(TicketFlag(bits))}")
    _adjust_times(policy, limits, now_s, fields, changes)
    return (replace(policy, **fields) if fields else policy), changes


@lru_cache(maxsize=4096)
def _forced_bits(asked: int, forced_on: int, forced_off: int) -> int:
    """Return the flags with those forced, and what they bring with them; as asked where that cannot be."""
    asked &= ~_K
    bits = (asked | _ALWAYS | forced_on) & ~forced_off
    for flag, implied in FLAG_REPAIRS:
        if bits & flag and not bits & implied:
            bits = bits & ~flag if implied & forced_off else bits | implied
    if not bits & (_G | _H):
        bits |= _G | _F if _H & forced_off else _H
    return asked if flag_violations(bits) else bits


def _fitting_keys(
    keys: tuple[RequestedKey, ...], suite: Suite, limits: TicketLimits, changes: list[str]
) -> tuple[RequestedKey, ...]:
    longest = _longest(suite, limits)
    if not keys:
        kind = limits.default_key_type
        salt = DEFAULT_SALT_BYTES if kind.has_salt else 0
        length = max(min(suite.key_length, longest), limits.min_key_bytes)
        return (RequestedKey(key_type=kind, length=length, salt_length=salt),)
    if limits.refuses:
        return keys
    fitted = tuple(_fitting_key(key, longest, limits, changes) for key in keys[: limits.max_keys])
    if len(fitted) < len(keys):
        changes.append(f"keys reduced to {limits.max_keys}")
    return keys if fitted == keys else fitted


def _longest(suite: Suite, limits: TicketLimits) -> int:
    return min(limits.max_key_bytes, longest_session_key(suite) or limits.max_key_bytes)


def _fitting_key(key: RequestedKey, longest: int, limits: TicketLimits, changes: list[str]) -> RequestedKey:
    kind = key.key_type if key.key_type in limits.key_types else limits.default_key_type
    length = min(max(key.length, limits.min_key_bytes), longest)
    if kind is key.key_type and length == key.length:
        return key
    changes.append(f"key {key.key_type.name} of {key.length} bytes became {kind.name} of {length}")
    salt = (key.salt_length or DEFAULT_SALT_BYTES) if kind.has_salt else 0
    return RequestedKey(key_type=kind, length=length, salt_length=salt)


def _adjust_times(
    policy: TicketPolicy, limits: TicketLimits, now_s: int, fields: dict[str, Any], changes: list[str]
) -> None:
    latest = now_s + limits.max_validity_s
    if policy.valid_until is None:
        until = min(_start(policy, now_s) + limits.default_validity_s, latest)
        fields["valid_until"] = Timestamp.ntp_utc_32(until)
        changes.append(f"an end of validity after {limits.default_validity_s} s was set")
    elif _ceil_s(policy.valid_until) > latest and not limits.refuses:
        fields["valid_until"] = Timestamp.ntp_utc_32(latest)
        changes.append(f"validity shortened to {limits.max_validity_s} s")
    bound, interval = limits.max_rekeying_interval_s, policy.rekeying_interval_s
    if bound is not None and (interval is None or (interval > bound and not limits.refuses)):
        fields["rekeying_interval_s"] = bound
        changes.append(f"rekeying every {bound} s was set")


def _start(policy: TicketPolicy, now_s: int) -> int:
    return now_s if policy.valid_from is None else max(now_s, policy.valid_from.unix_ns() // _NS)


def _ceil_s(timestamp: Timestamp) -> int:
    return -(-timestamp.unix_ns() // _NS)


def breaches(
    policy: TicketPolicy, keys: Sequence[RequestedKey], limits: TicketLimits, *, now_s: int
) -> list[Breach]:
    """Return what in a ticket with *policy* and *keys* the *limits* do not allow."""
    found = _flag_breaches(int(policy.flags.bits), limits)
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
        found += _application_breaches(policy, limits.applications)
    return found


def _application_breaches(policy: TicketPolicy, allowed: frozenset[str]) -> list[Breach]:
    if not policy.applications:
        return [Breach(field="IDRapp", text="the ticket is for any application; name the allowed ones")]
    return [
        Breach(field="IDRapp", text=f"application {name!r} is not allowed")
        for name in policy.applications
        if name not in allowed
    ]


def _flag_breaches(bits: int, limits: TicketLimits) -> list[Breach]:
    if not bits & limits.must_clear and bits & limits.must_set == limits.must_set:
        return []
    found = []
    for name, flag in FLAG_NAMES.items():
        if bits & flag & limits.must_clear:
            text = f"{flag.name} ({name}) is {limits.flags[flag].value}"
        elif ~bits & flag & limits.must_set:
            text = f"{flag.name} ({name}) is {limits.flags[flag].value} and not set"
        else:
            continue
        found.append(Breach(field="flags", text=text))
    return found


def _key_breaches(policy: TicketPolicy, keys: Sequence[RequestedKey], limits: TicketLimits) -> list[Breach]:
    found = []
    shortest, longest = limits.min_key_bytes, _longest(policy.suite, limits)
    if len(keys) > limits.max_keys:
        found.append(Breach(field="KEMAC", text=f"{len(keys)} keys, {limits.max_keys} are allowed"))
    for key in keys:
        if key.key_type not in limits.key_types:
            found.append(Breach(field="KEMAC", text=f"keys of type {key.key_type.name} are not allowed"))
        if not shortest <= key.length <= longest:
            found.append(
                Breach(
                    field="KEMAC", text=f"a key of {key.length} bytes; {shortest} to {longest} are allowed"
                )
            )
        if key.salt_length > MAX_SALT_BYTES:
            found.append(
                Breach(field="KEMAC", text=f"a salt of {key.salt_length} bytes; {MAX_SALT_BYTES} are allowed")
            )
    return found
