"""What all payloads have in common, and the chain that links them by Next Payload."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol, Self, TypeVar

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LimitExceeded, MalformedMessage
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.registry import PayloadType


class Payload(Protocol):
    """A payload without its Next Payload octet, which belongs to the chain."""

    payload_type: ClassVar[PayloadType]

    def encode_body(self) -> bytes:
        """Return the octets after Next Payload."""
        ...

    @classmethod
    def decode_body(cls, reader: Reader, limits: Limits) -> Self:
        """Read the octets after Next Payload; raise a `PeerError` that names the field."""
        ...


PAYLOAD_CLASSES: dict[int, type[Payload]] = {}
"""Payload classes by number; filled by `register`."""

PayloadClass = TypeVar("PayloadClass", bound=type[Payload])


def register(cls: PayloadClass) -> PayloadClass:
    """Make a payload class known to `decode_chain`."""
    PAYLOAD_CLASSES[cls.payload_type] = cls
    return cls


_NO_NEXT_PAYLOAD = int(PayloadType.SIGN)
_CERT = int(PayloadType.CERT)
_NEXT_PAYLOAD_FIELD = {int(kind): f"{kind.name} next payload" for kind in PayloadType}
_OCTETS = tuple(bytes((number,)) for number in range(256))


def encode_payloads(payloads: Iterable[Payload]) -> tuple[int, list[bytes]]:
    """Return (first payload number, octets of each payload) of a chain.

    SIGN has no Next Payload and so must be last.
    """
    octets: list[bytes] = []
    following = int(PayloadType.LAST)
    for payload in reversed(tuple(payloads)):
        number = int(payload.payload_type)
        body = payload.encode_body()
        octets.append(body if number == _NO_NEXT_PAYLOAD else _OCTETS[following] + body)
        following = number
    octets.reverse()
    return following, octets


def encode_chain(payloads: Iterable[Payload]) -> tuple[int, bytes]:
    """Return (first payload number, octets) of a chain; SIGN must be last."""
    first, octets = encode_payloads(payloads)
    return first, b"".join(octets)


def decode_chain(
    first: int, reader: Reader, limits: Limits, what: str
) -> tuple[tuple[Payload, ...], tuple[int, ...]]:
    """Read payloads from *reader* until Next Payload is 0; return them and the offset of each.

    An offset is that of the payload's first octet (its Next Payload) in the message. There is no length by
    which an unknown payload could be skipped, so one raises `MalformedMessage`; more payloads or CERTs than
    *limits* allow raise `LimitExceeded`; octets after the last payload raise `MalformedMessage`.
    """
    payloads: list[Payload] = []
    offsets: list[int] = []
    certificates = 0
    following = first
    while following:
        cls = PAYLOAD_CLASSES.get(following)
        if cls is None:
            raise MalformedMessage(
                f"unknown payload number {following}", field=f"{what} next payload", offset=reader.offset
            )
        certificates += following == _CERT
        _check_counts(len(payloads) + 1, certificates, limits, what, reader)
        offsets.append(reader.offset)
        # SIGN, which ends a message, has no Next Payload.
        following = 0 if following == _NO_NEXT_PAYLOAD else reader.u8(_NEXT_PAYLOAD_FIELD[following])
        payloads.append(cls.decode_body(reader, limits))
    reader.finish(what)
    return tuple(payloads), tuple(offsets)


def _check_counts(payloads: int, certificates: int, limits: Limits, what: str, reader: Reader) -> None:
    if payloads > limits.payloads:
        raise LimitExceeded(f"more than {limits.payloads} payloads", field=what, offset=reader.offset)
    if certificates > limits.certificates:
        raise LimitExceeded(f"more than {limits.certificates} certificates", field=what, offset=reader.offset)
