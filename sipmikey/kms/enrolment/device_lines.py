"""Enrolled devices as lines of JSON, to carry them over to another KMS."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sipmikey.keys.key_text import parse_key
from sipmikey.kms.enrolment.records import DeviceRecord
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError

_TEXTS: Final = ("device", "subscriber", "identity", "name")
_NUMBERS: Final = ("generation", "enrolled_s", "seen_s", "valid_until_s")
_OTHERS: Final = ("key", "revoked_s", "certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedDevice:
    """A device with the SHA-256 digests of the certificates that are its."""

    record: DeviceRecord
    certificates: tuple[bytes, ...] = ()


def format_device(device: CarriedDevice, *, with_key: bool) -> str:
    """Return the line of a device, with the key that proves it to the KMS if told."""
    record = device.record
    fields: dict[str, Any] = {name: getattr(record, name) for name in (*_TEXTS, *_NUMBERS)}
    if record.revoked_s is not None:
        fields["revoked_s"] = record.revoked_s
    if device.certificates:
        fields["certificates"] = [digest.hex() for digest in device.certificates]
    if with_key:
        fields["key"] = base64.b64encode(record.key.reveal()).decode()
    return json.dumps(fields, separators=(",", ":"))


def parse_device(fields: Mapping[str, Any]) -> CarriedDevice:
    """Return the device of a line. Raises `LocalError`, which says what is wrong and shows no key."""
    unknown = sorted(set(fields) - {*_TEXTS, *_NUMBERS, *_OTHERS})
    if unknown:
        raise LocalError(f"a device: unknown key {unknown[0]!r}")
    for name in _TEXTS:
        if not isinstance(fields.get(name), str) or not 0 < len(fields[name]) <= 255:
            raise LocalError(f"a device: {name} has 1 to 255 characters")
    for name in _NUMBERS:
        _number(fields.get(name), name)
    if fields.get("revoked_s") is not None:
        _number(fields["revoked_s"], "revoked_s")
    if not isinstance(fields.get("key"), str):
        raise LocalError(f"device {fields['device']!r} comes without its key: export with --with-keys")
    key = parse_key(fields["key"], "a device: key", length=32)
    record = DeviceRecord(
        **{name: fields[name] for name in ("device", "subscriber", "name", *_NUMBERS)},
        identity=normal_identity(fields["identity"]),
        key=key,
        revoked_s=fields.get("revoked_s"),
    )
    return CarriedDevice(record=record, certificates=tuple(_digests(fields.get("certificates", []))))


def _number(value: object, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise LocalError(f"a device: {name} is a whole number")


def _digests(value: object) -> Sequence[bytes]:
    try:
        if isinstance(value, list):
            return [bytes.fromhex(text) for text in value]
    except (TypeError, ValueError):
        pass
    raise LocalError("a device: certificates are SHA-256 digests in hexadecimal")
