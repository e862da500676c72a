"""Subscribers, their credentials and groups: the records, and how they are written down."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sipmikey.keys.key_text import parse_key
from sipmikey.keys.suite import MINIMUM_KEY_LENGTH
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.identity import canonical, matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The owner of a credential.

    ``name``: stable name of the subscriber. ``identities``: the canonical URIs it owns, the primary first.
    ``groups``: canonical identities of the groups it is in. ``enabled`` False refuses everything.
    ``vouches_for``: not empty only for another KMS; patterns of the identities it may speak for.
    """

    name: str
    identities: tuple[str, ...]
    groups: tuple[str, ...] = ()
    enabled: bool = True
    vouches_for: tuple[str, ...] = ()

    @property
    def is_kms(self) -> bool:
        """True where this is another KMS, which speaks for its own subscribers."""
        return bool(self.vouches_for)

    def owns(self, identity: str) -> bool:
        """Return whether a canonical *identity* is one of this subscriber's, or of those it vouches for."""
        return identity in self.identities or any(matches(pattern, identity) for pattern in self.vouches_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class PskCredential:
    """A pre-shared key (16 bytes or more) with its identifier (IDRpsk), validity (Unix seconds) and owner.

    ``protection``: the key as the ticket layer takes it.
    """

    principal: Principal
    key: Secret
    key_id: bytes | None = None
    valid_from_s: int | None = None
    valid_until_s: int | None = None
    protection: PreSharedKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_psk(self.key)
        object.__setattr__(self, "protection", PreSharedKey(key=self.key, key_id=self.key_id))

    def valid_at(self, now_s: int) -> bool:
        """Return whether the key may be used at *now_s*."""
        return (self.valid_from_s is None or self.valid_from_s <= now_s) and (
            self.valid_until_s is None or now_s < self.valid_until_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PskRecord:
    """A pre-shared key as stored. ``key`` None in an export without secrets.

    ``device``: the enrolled device that has it, "" for a key that an administrator made.
    """

    key_id: bytes
    key: Secret | None
    valid_from_s: int | None = None
    valid_until_s: int | None = None
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberRecord:
    """A subscriber as stored, imported and exported. ``certificates`` are DER."""

    name: str
    identities: tuple[str, ...]
    enabled: bool = True
    psks: tuple[PskRecord, ...] = ()
    certificates: tuple[bytes, ...] = ()
    groups: tuple[str, ...] = ()
    vouches_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 255 or self.name != self.name.strip():
            raise LocalError(
                f"a subscriber's name has 1 to 255 characters without outer blanks, not {self.name!r}"
            )
        if not self.identities:
            raise LocalError(f"subscriber {self.name!r} has no identity")
        for text in (*self.identities, *self.vouches_for, *self.groups):
            if normal_identity(text) != text:
                raise LocalError(f"{text!r} is not in canonical form: write {normal_identity(text)}")
        for text in self.identities:
            if ":*@" in text:
                raise LocalError(f"a subscriber cannot own the wildcard {text!r}; make it a group member")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group: its identity and its members, each an identity or a wildcard."""

    uri: str
    members: tuple[str, ...] = ()


def check_name(name: str) -> None:
    """Raise `LocalError` if *name* has characters that no new subscriber's name may have."""
    if not name.isprintable():
        raise LocalError(f"name: {printable(name, most=80)!r} has a character that cannot be printed")


def check_psk(key: Secret) -> None:
    """Raise `LocalError` if *key* is too short to be a pre-shared key."""
    if len(key) < MINIMUM_KEY_LENGTH:
        raise LocalError(f"a pre-shared key has {MINIMUM_KEY_LENGTH} bytes or more, not {len(key)}")


def normal_identity(text: str) -> str:
    """Return the canonical form of a sip, sips or tel URI, or of a wildcard ``sip:*@host``.

    Raises `LocalError` saying what an identity looks like.
    """
    scheme, _, rest = text.strip().partition(":")
    if scheme.lower() not in {"sip", "sips", "tel"} or not rest or rest.split() != [rest]:
        raise LocalError(f"{text!r} is not an identity: write sip:user@host, sips:user@host or tel:+number")
    if "*" in text and scheme.lower() != "tel" and not rest.startswith("*@"):
        raise LocalError(f"{text!r}: the * stands for a whole user part, as in sip:*@support.example.com")
    return canonical(text)


def format_subscribers(records: Iterable[SubscriberRecord]) -> Iterator[str]:
    """Yield one line of JSON for each record; keys appear if the records hold them."""
    for record in records:
        yield json.dumps(
            {
                "name": record.name,
                "identities": list(record.identities),
                "enabled": record.enabled,
                "psks": [_psk_json(psk) for psk in record.psks],
                "certificates": [base64.b64encode(der).decode() for der in record.certificates],
                "groups": list(record.groups),
                "vouches_for": list(record.vouches_for),
            },
            separators=(",", ":"),
        )


def parse_subscribers(lines: Iterable[str]) -> Iterator[SubscriberRecord]:
    """Parse what `format_subscribers` wrote, or a person did: one JSON object a line.

    Only ``name`` and ``identities`` are required; keys are base64 or hexadecimal, key identifiers
    hexadecimal. Raises `LocalError` naming the line and what is wrong in it, and never showing a key.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _record(json.loads(line))
        except (json.JSONDecodeError, UnicodeError):
            raise LocalError(f"line {number}: not a JSON object") from None
        except LocalError as error:
            raise LocalError(f"line {number}: {error}") from None


_FIELDS = {"name": str, "identities": list, "enabled": bool, "psks": list, "certificates": list,
           "groups": list, "vouches_for": list}  # fmt: skip
_PSK_FIELDS = {"key_id": str, "key": str, "valid_from_s": int, "valid_until_s": int, "device": str}


def _psk_json(psk: PskRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {"key_id": psk.key_id.hex()}
    if psk.key is not None:
        fields["key"] = base64.b64encode(psk.key.reveal()).decode()
    if psk.valid_from_s is not None:
        fields["valid_from_s"] = psk.valid_from_s
    if psk.valid_until_s is not None:
        fields["valid_until_s"] = psk.valid_until_s
    if psk.device:
        fields["device"] = psk.device
    return fields


def _record(value: object) -> SubscriberRecord:
    fields = _typed(value, _FIELDS, "a subscriber")
    if "name" not in fields:
        raise LocalError("name is missing")
    check_name(fields["name"])
    return SubscriberRecord(
        name=fields["name"],
        identities=tuple(map(normal_identity, _strings(fields, "identities"))),
        enabled=fields.get("enabled", True),
        psks=tuple(_psk(item) for item in fields.get("psks", ())),
        certificates=tuple(_base64(text, "certificates") for text in _strings(fields, "certificates")),
        groups=tuple(map(normal_identity, _strings(fields, "groups"))),
        vouches_for=tuple(map(normal_identity, _strings(fields, "vouches_for"))),
    )


def _psk(value: object) -> PskRecord:
    fields = _typed(value, _PSK_FIELDS, "psks")
    try:
        key_id = bytes.fromhex(fields["key_id"])
    except (KeyError, ValueError):
        raise LocalError("psks: key_id must be given in hexadecimal") from None
    key = parse_key(fields["key"], "psks: key") if "key" in fields else None
    return PskRecord(
        key_id=key_id,
        key=key,
        valid_from_s=fields.get("valid_from_s"),
        valid_until_s=fields.get("valid_until_s"),
        device=fields.get("device", ""),
    )


def _typed(value: object, known: Mapping[str, type], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LocalError(f"{what} is a JSON object")
    for key, item in value.items():
        if key not in known:
            raise LocalError(f"{what}: unknown key {key!r}; allowed: {', '.join(known)}")
        if not isinstance(item, known[key]) or (known[key] is int and isinstance(item, bool)):
            raise LocalError(f"{what}: {key} must be of type {known[key].__name__}")
    return value


def _strings(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = fields.get(key, [])
    if not all(isinstance(item, str) for item in value):
        raise LocalError(f"{key} is a list of strings")
    return tuple(value)


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LocalError(f"{what} is not base64") from None
