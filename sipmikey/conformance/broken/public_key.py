"""The public-key variants of our own KMS with a requirement broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.conformance.authority import Authority
from sipmikey.keys.certificate import load_certificate, rsa_public_key
from sipmikey.keys.envelope import open_envelope
from sipmikey.keys.signature import ACCEPTED_HASHES, verify_signature
from sipmikey.keys.suite import suite_of
from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import DataType, SignatureType
from sipmikey.mikey.secret import Secret

PK_INITS = (DataType.REQUEST_INIT_PK, DataType.RESOLVE_INIT_PK)

LENIENCES: dict[str, tuple[str, str, str]] = {
    "takes-bad-signatures": ("a signature is not verified", "auth-failure", "SIGN signature"),
    "takes-untrusted-certificates": ("anybody may issue certificates", "invalid-certificate", "CERT: chain"),
    "takes-others-certificates": (
        "a certificate may name anybody",
        "invalid-certificate",
        "Certificate: identity",
    ),
    "takes-revoked-certificates": (
        "revocation lists are not read",
        "invalid-certificate",
        "CERT: certificate is revoked",
    ),
    "takes-broken-certificates": (
        "a certificate need not be one",
        "invalid-certificate",
        "Certificate: not an",
    ),
    "takes-any-chash": ("CHASH is not compared", "invalid-certificate", "CHASH Hash"),
    "takes-no-pke": ("PKE may be left out", "malformed-message", "PKE: is missing"),
    "takes-no-sign": ("SIGN may be left out", "malformed-message", "SIGN"),
    "takes-short-envelopes": ("PKE may have any length", "malformed-message", "PKE Data"),
}
"""Break -> what it is, and the refusals of our own KMS that it lifts: reason word and first words."""

OTHERS = {
    "takes-signatures-alone": "a signature may leave out the identities",
    "takes-messages-signed-again": "a message with another signature is taken twice",
    "tells-padding": "an envelope with broken padding is refused, one with another key is answered",
    "refuses-public-key": "messages of the public-key variants are not answered",
    "refuses-resolve-public-key": "RESOLVE_INIT_PK is not answered",
    "refuses-pss": "signatures of RSASSA-PSS are not taken",
    "refuses-chash": "messages with CHASH are not answered",
    "ignores-envelopes": "the response is protected with a key that is not the envelope's",
}

BREAKS: dict[str, str] = {**{name: item[0] for name, item in LENIENCES.items()}, **OTHERS}
"""Every break of the public-key variants, and what it is."""


@dataclass(slots=True, kw_only=True)
class PublicKeyBreaks:
    """What a break does to messages of the public-key variants."""

    authority: Authority
    broken: str | None

    def refuses(self, octets: bytes) -> bool:
        """Return whether a message is refused that should be answered."""
        message = _public_key_message(octets)
        if message is None or self.broken not in OTHERS:
            return False
        refusals: dict[str, Callable[[Message], bool]] = {
            "refuses-public-key": lambda _: True,
            "refuses-resolve-public-key": lambda m: m.header.data_type is DataType.RESOLVE_INIT_PK,
            "refuses-pss": lambda m: any(s.signature_type == SignatureType.RSA_PSS for s in m.all(SIGN)),
            "refuses-chash": lambda m: bool(m.all(CHASH)),
            "tells-padding": lambda m: not self._padded(m),
        }
        refusal = refusals.get(self.broken)
        return refusal is not None and refusal(message)

    def takes(self, octets: bytes, reason: str) -> bool:
        """Return whether a message is taken that our own KMS refused for *reason*."""
        message = _public_key_message(octets)
        if message is None:
            return False
        if self.broken == "takes-messages-signed-again":
            pss = any(one.signature_type == SignatureType.RSA_PSS for one in message.all(SIGN))
            return reason == "replayed-message" and pss
        return self.broken == "takes-signatures-alone" and _signed_alone(message)

    def key(self, init: Message) -> Secret | None:
        """Return the envelope key of a message of the public-key variants, None of another."""
        if init.header.data_type not in PK_INITS:
            return None
        length = suite_of(init.header.prf).key_length
        return open_envelope(
            self.authority.kms.private_key,
            init.one(PKE).data,
            length=length,
            substitute=Secret(bytes(length)),
        )

    def _padded(self, message: Message) -> bool:
        envelope = message.find(PKE)
        if envelope is None:
            return True  # refused for that by our own KMS
        # Libraries hide what this break tells (implicit rejection), so the bare operation shows it.
        numbers = self.authority.kms.private_key.private_numbers()
        modulus = numbers.public_numbers.n
        block = pow(int.from_bytes(envelope.data, "big"), numbers.d, modulus)
        return block.to_bytes((modulus.bit_length() + 7) // 8, "big")[:2] == b"\0\2"


def _public_key_message(octets: bytes) -> Message | None:
    try:
        message = Message.parse(octets)
    except PeerError:
        return None
    return message if message.header.data_type in PK_INITS else None


def _signed_alone(message: Message) -> bool:
    """Return whether the signature is one over the message without the identities."""
    signature = message.one(SIGN)
    try:
        verify_signature(
            rsa_public_key(load_certificate(message.all(CERT)[0])),
            signature.signature,
            message.raw[: -len(signature.signature)],
            hash_funcs=ACCEPTED_HASHES[message.header.prf],
            signature_type=SignatureType(signature.signature_type),
        )
    except (PeerError, ValueError):
        return False
    return True
