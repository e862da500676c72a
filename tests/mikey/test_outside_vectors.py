"""Encodings made by other hands; skipped where their files are not beside the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import InvalidTicketPolicy
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import decode_chain, encode_chain
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.verification import ERR

DIRECTORY = Path(__file__).parents[3] / "shared" / "vectors"


def load(name: str) -> list[dict]:
    path = DIRECTORY / name
    if not path.is_file():
        return []
    return json.loads(path.read_text(encoding="utf-8"))["vectors"]


CODEC = load("codec.json")
ERRORS = load("error.json")
needs_codec = pytest.mark.skipif(not CODEC, reason="codec.json is not beside this repository")
needs_errors = pytest.mark.skipif(not ERRORS, reason="error.json is not beside this repository")

NAMES = {
    "id": "data", "cert": "data", "sig": "signature", "c": "cache", "alg": "auth_alg", "prot": "prot_type",
    "s_type": "signature_type", "type": "key_type", "error": "error_no",
}  # fmt: skip
"""Names of fields in the files that are others here."""


def said(payload) -> dict:
    """Return what *payload* says, in the words of the files."""
    fields = {}
    for name in payload.__dataclass_fields__:
        value = getattr(payload, name)
        if isinstance(value, Secret):
            value = value.reveal()
        fields[name] = value.hex() if isinstance(value, bytes) else value
    if (timestamp := fields.pop("timestamp", None)) is not None:
        fields["ts_type"] = timestamp.ts_type  # type: ignore[union-attr]
        fields["ts"] = timestamp.value.to_bytes(timestamp.ts_type.length, "big").hex()  # type: ignore[union-attr]
    if "params" in fields:
        fields["params"] = [[item.param_type, item.value.hex()] for item in fields["params"]]  # type: ignore[union-attr]
    if (interval := fields.pop("interval", None)) is not None:
        fields |= {"valid_from": interval.valid_from.hex(), "valid_to": interval.valid_to.hex()}  # type: ignore[union-attr]
    if "encr_data" in fields:
        fields["data"] = fields.pop("encr_data")
    if "key_type" in fields:
        fields["kv"] = payload.validity_type
        fields["spi"] = fields["spi"] or ""
    return fields


@needs_codec
@pytest.mark.parametrize("vector", CODEC, ids=[vector["name"] for vector in CODEC])
def test_payload(vector):
    octets = bytes.fromhex(vector["hex"])
    if vector["name"] in ("TP", "TICKET"):
        # Its flags, DEGJLO, break a rule of RFC 6043 section 6.10, so no object of ours can hold them.
        with pytest.raises(InvalidTicketPolicy, match="G implies F"):
            decode_chain(vector["payload"], Reader(octets), DEFAULT_LIMITS, "message")
        octets = octets[:6] + bytes((octets[6] | 0x40,)) + octets[7:]
        vector = {"payload": vector["payload"], "fields": {}}
    (payload,), _ = decode_chain(vector["payload"], Reader(octets), DEFAULT_LIMITS, "message")
    found = said(payload)
    assert {name: found[NAMES.get(name, name)] for name in vector["fields"]} == vector["fields"]
    assert encode_chain([payload]) == (vector["payload"], octets)


@needs_errors
@pytest.mark.parametrize("vector", ERRORS, ids=[vector["name"] for vector in ERRORS])
@pytest.mark.parametrize("form", ["hex", "unauthenticated"])
def test_error_message(vector, form):
    message = Message.parse(bytes.fromhex(vector[form]))
    assert [item.error_no for item in message.all(ERR)] == vector["errors"]
    assert Message.build(message.header, message.payloads).raw.hex() == vector[form]
