"""Checks shared by the payloads: registered values, ranges and lengths."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar, cast

from sipmikey.mikey.errors import LocalError, MalformedMessage, PeerError

U8_MAX = 0xFF
U16_MAX = 0xFFFF
U32_MAX = 0xFFFF_FFFF

Registered = TypeVar("Registered", bound=IntEnum)


_MEMBERS: dict[type[IntEnum], dict[int, IntEnum]] = {}


def _members(enum: type[Registered]) -> dict[int, Registered]:
    """Members by value: a dictionary is several times quicker than calling the enumeration."""
    members = _MEMBERS.get(enum)
    if members is None:
        members = _MEMBERS[enum] = {int(member): member for member in enum}
    return cast("dict[int, Registered]", members)


def registered(
    enum: type[Registered],
    value: int,
    *,
    field: str,
    offset: int,
    error: type[PeerError] = MalformedMessage,
) -> Registered:
    """Return *value* as a member of *enum*, or raise *error*."""
    member = _members(enum).get(value)
    if member is None:
        raise error(f"unknown value {value}", field=field, offset=offset)
    return member


def named(enum: type[Registered], value: int) -> Registered | int:
    """Return *value* as a member of *enum* where it is registered, else as it is."""
    return _members(enum).get(value, value)


def check_range(value: int, maximum: int, field: str) -> None:
    """Raise `LocalError` unless 0 <= value <= maximum."""
    if not 0 <= value <= maximum:
        raise LocalError(f"{field} is {value}, must be in 0..{maximum}")


def check_length(octets: bytes, maximum: int, field: str) -> None:
    """Raise `LocalError` when *octets* does not fit its length field."""
    if len(octets) > maximum:
        raise LocalError(f"{field} has {len(octets)} octets, at most {maximum} fit")
