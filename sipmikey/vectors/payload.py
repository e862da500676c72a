"""Checking an encoding of one payload: the octets must give the fields, and the fields the octets."""

from __future__ import annotations

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.payload import Payload, decode_chain, encode_chain
from sipmikey.mikey.registry import PayloadType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP
from sipmikey.mikey.ticket import TICKET, TP, TicketFlag, TicketFlags, flag_violations, letters
from sipmikey.mikey.timestamp import TR, T
from sipmikey.vectors.file import Vector, number, octets, part

_NAMES = {
    "id": "data", "cert": "data", "sig": "signature", "c": "cache", "alg": "auth_alg", "prot": "prot_type",
    "s_type": "signature_type", "type": "key_type", "error": "error_no",
}  # fmt: skip
"""Field of a vector -> field of the payload, where the names differ."""

_FLAGS_AT = 5
"""Offset of PRF Func and flags in TP and TICKET, after Next Payload, Ticket Type, Subtype and Version."""


def check_payload(vector: Vector) -> list[str]:
    """Return what does not hold for a vector of kind ``payload``."""
    kind = number(vector, "payload", "payload")
    raw = octets(vector, "hex", "payload")
    fields = dict(part(vector, "fields"))
    faults: list[str] = []
    if kind in (PayloadType.TP, PayloadType.TICKET):
        raw = _with_allowed_flags(raw, fields, faults)
    (payload,), _ = decode_chain(kind, Reader(raw), DEFAULT_LIMITS, "payload")
    found = _said(payload)
    for name, expected in fields.items():
        value = found.get(_NAMES.get(name, name))
        if value != expected:
            faults.append(f"{name}: expected {expected}, is {value}")
    first, encoded = encode_chain([payload])
    if (first, encoded) != (kind, raw):
        faults.append(f"encodes to {encoded.hex()}")
    return faults


def _with_allowed_flags(raw: bytes, fields: Vector, faults: list[str]) -> bytes:
    """Compare the flags here and put allowed ones in their place if need be.

    Flags that break the rules of RFC 6043 section 6.10 are refused when decoding, and an encoding of a
    payload may have such flags all the same.
    """
    word = int.from_bytes(raw[_FLAGS_AT : _FLAGS_AT + 3], "big")
    bits = word >> 5 & 0xFFF
    expected = fields.pop("flags", letters(bits))
    if letters(bits) != expected:
        faults.append(f"flags: expected {expected}, is {letters(bits)}")
    if not flag_violations(bits):
        return raw
    word = word & ~(0xFFF << 5) | int(TicketFlags(TicketFlag.D | TicketFlag.H).bits) << 5
    return raw[:_FLAGS_AT] + word.to_bytes(3, "big") + raw[_FLAGS_AT + 3 :]


def _said(payload: Payload) -> dict[str, object]:
    """Return what a payload says, in the words of the vectors."""
    fields: dict[str, object] = {}
    for name in getattr(payload, "__dataclass_fields__", {}):
        value = getattr(payload, name)
        if isinstance(value, Secret):
            value = value.reveal()
        fields[name] = value.hex() if isinstance(value, bytes) else value
    if isinstance(payload, T | TR):
        timestamp = payload.timestamp
        fields["ts_type"] = timestamp.ts_type
        fields["ts"] = timestamp.value.to_bytes(timestamp.ts_type.length, "big").hex()
    elif isinstance(payload, SP):
        fields["params"] = [[int(item.param_type), item.value.hex()] for item in payload.params]
    elif isinstance(payload, KeyData):
        fields["kv"] = payload.validity_type
        fields["spi"] = (payload.spi or b"").hex()
        if payload.interval is not None:
            fields["valid_from"] = payload.interval.valid_from.hex()
            fields["valid_to"] = payload.interval.valid_to.hex()
    elif isinstance(payload, TP | TICKET):
        # After Ticket Type to flags, 7 octets, and the length.
        fields["tp_data"] = payload.policy_octets[9:].hex()
    if "encr_data" in fields:
        fields["data"] = fields["encr_data"]
    return fields
