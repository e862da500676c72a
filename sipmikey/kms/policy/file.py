"""The policy as a TOML document: reading it, with errors that name the key and the words allowed.

docs/kms/policy.md describes the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sipmikey.keys.suite import SUITES
from sipmikey.kms.policy.limits import DEFAULT_LIMITS, FLAG_NAMES, FlagWord, Otherwise, TicketLimits
from sipmikey.kms.policy.rules import GROUP_PREFIX, SUBSCRIBERS, Policy, Rule
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import KeyDataType
from sipmikey.settings.toml import ConfigurationError, check_keys, parse_toml, read_text

_KEY_TYPES = {kind.name: kind for kind in KeyDataType if kind.is_session_key}
_DECISIONS = ("allow", "refuse")
_TICKET_KEYS = ("kms", "responder")
_TOP = ("rule", "limits")
_RULE = ("name", "from", "to", "decision", "limits")
_FLAG_WORDS = tuple(word.value for word in FlagWord)


class PolicyError(LocalError):
    """The policy text is wrong. The message names the key, what is wrong, and what is allowed."""


def read_policy(path: Path) -> Policy:
    """Read the policy in the file at *path*; raise `PolicyError`."""
    try:
        return parse_policy(read_text(path))
    except ConfigurationError as error:
        raise PolicyError(f"policy {error}") from None
    except PolicyError as error:
        raise PolicyError(f"policy {path}: {error}") from None


def parse_policy(text: str) -> Policy:
    """Read a policy from TOML *text*; raise `PolicyError`."""
    try:
        document = parse_toml(text)
    except ConfigurationError as error:
        raise PolicyError(str(error)) from None
    _known(document, _TOP, "the policy")
    limits = {"default": DEFAULT_LIMITS}
    for name, table in _table(document.get("limits", {}), "limits").items():
        limits[name] = _limits(_table(table, f"limits.{name}"), f"limits.{name}")
    rules = document.get("rule", [])
    if not isinstance(rules, list):
        raise PolicyError('rule: write each rule as a table of its own, headed "[[rule]]"')
    parsed: list[Rule] = []
    for number, table in enumerate(rules, 1):
        rule = _rule(_table(table, f"rule {number}"), number, limits)
        if any(rule.name == other.name for other in parsed):
            raise PolicyError(f"rule {number}: the name {rule.name!r} is given twice")
        parsed.append(rule)
    return Policy(rules=tuple(parsed), limits=MappingProxyType(limits))


def _rule(table: Mapping[str, Any], number: int, limits: Mapping[str, TicketLimits]) -> Rule:
    where = f"rule {number}"
    _known(table, _RULE, where)
    name = _text(table, "name", where)
    where = f"rule {number} ({name})"
    chosen = _word(table.get("limits", "default"), tuple(limits), f"{where}: limits")
    return Rule(
        name=name,
        sources=_parties(table, "from", where),
        targets=_parties(table, "to", where),
        allow=_word(table.get("decision"), _DECISIONS, f"{where}: decision") == "allow",
        limits=chosen,
    )


def _parties(table: Mapping[str, Any], key: str, where: str) -> frozenset[str]:
    words = _strings(table.get(key), f"{where}: {key}")
    if not words:
        raise PolicyError(f"{where}: {key} is missing; it is a list of identities, wildcards, groups, or *")
    return frozenset(_party(word, f"{where}: {key}") for word in words)


def _party(word: str, where: str) -> str:
    if word in ("*", SUBSCRIBERS):
        return word
    prefix = GROUP_PREFIX if word.startswith(GROUP_PREFIX) else ""
    try:
        return prefix + normal_identity(word.removeprefix(GROUP_PREFIX))
    except LocalError as error:
        raise PolicyError(
            f"{where}: {error}; allowed are sip:user@host, sip:*@host, tel:+number, group:IDENTITY,"
            " subscribers and *"
        ) from None


def _limits(table: Mapping[str, Any], where: str) -> TicketLimits:
    _known(table, tuple(_LIMIT_READERS), where)
    fields: dict[str, Any] = {}
    for key, value in table.items():
        name, read = _LIMIT_READERS[key]
        fields[name] = read(value, f"{where}: {key}")
    if "key_types" in fields and "default_key_type" not in fields:
        fields["default_key_type"] = next(kind for kind in KeyDataType if kind in fields["key_types"])
    if "max_validity_s" in fields and "default_validity_s" not in fields:
        fields["default_validity_s"] = min(DEFAULT_LIMITS.default_validity_s, fields["max_validity_s"])
    try:
        return TicketLimits(**fields)
    except LocalError as error:
        raise PolicyError(f"{where}: {error}") from None


def _flags(value: object, where: str) -> Mapping[Any, FlagWord]:
    table = _table(value, where)
    _known(table, tuple(FLAG_NAMES), where)
    words = {name: _word(word, _FLAG_WORDS, f"{where}: {name}") for name, word in table.items()}
    return MappingProxyType({FLAG_NAMES[name]: FlagWord(word) for name, word in words.items()})


def _suites(value: object, where: str) -> tuple[Any, ...]:
    return tuple(SUITES[_word(word, tuple(SUITES), where)] for word in _some(value, where))


def _key_types(value: object, where: str) -> frozenset[KeyDataType]:
    return frozenset(_key_type(word, where) for word in _some(value, where))


def _key_type(value: object, where: str) -> KeyDataType:
    return _KEY_TYPES[_word(value, tuple(_KEY_TYPES), where)]


def _applications(value: object, where: str) -> frozenset[str]:
    return frozenset(_some(value, where))


def _number(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise PolicyError(f"{where} must be a whole number from 0 to {2**31 - 1}, not {value!r}")
    return value


_LIMIT_READERS: Mapping[str, tuple[str, Callable[[object, str], object]]] = {
    "suites": ("suites", _suites),
    "flags": ("flags", _flags),
    "key_types": ("key_types", _key_types),
    "default_key_type": ("default_key_type", _key_type),
    "min_key_bytes": ("min_key_bytes", _number),
    "max_key_bytes": ("max_key_bytes", _number),
    "max_keys": ("max_keys", _number),
    "max_validity_s": ("max_validity_s", _number),
    "default_validity_s": ("default_validity_s", _number),
    "max_rekeying_interval_s": ("max_rekeying_interval_s", _number),
    "applications": ("applications", _applications),
    "otherwise": (
        "otherwise",
        lambda value, where: Otherwise(_word(value, tuple(word.value for word in Otherwise), where)),
    ),
    "ticket_key": ("responder_key", lambda value, where: _word(value, _TICKET_KEYS, where) == "responder"),
}
"""Reader of each key of a limits table, and the field of `TicketLimits` it fills."""


def _known(table: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    try:
        check_keys(table, allowed, where)
    except ConfigurationError as error:
        raise PolicyError(str(error)) from None


def _word(value: object, allowed: Sequence[str], where: str) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    given = "is missing" if value is None else f"cannot be {value!r}"
    raise PolicyError(f"{where} {given}; allowed: {', '.join(allowed)}")


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(f"{where} must be a table, not {value!r}")
    return value


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{where}: {key} is missing; it is a short text that audit events will show")
    if not value.isprintable():
        raise PolicyError(f"{where}: {key}: {value!r} has a character that cannot be printed")
    return value


def _strings(value: object, where: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise PolicyError(f"{where} must be a list of strings, not {value!r}")
    return value


def _some(value: object, where: str) -> list[str]:
    found = _strings(value, where)
    if not found:
        raise PolicyError(f"{where} must not be empty")
    return found
