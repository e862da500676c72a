"""A MIKEY message: HDR and a chain of payloads, with the octets it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import LimitExceeded, LocalError, MalformedMessage
from sipmikey.mikey.header import Header
from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
from sipmikey.mikey.payload import Payload, decode_chain, encode_payloads
from sipmikey.mikey.registry import PayloadType
from sipmikey.mikey.ticket import TICKET
from sipmikey.native import native

P = TypeVar("P")


def find_payload(payloads: Iterable[Payload], cls: type[P], role: int | None = None) -> P | None:
    """Return the only payload of a class (and role), or None; two raise `MalformedMessage`."""
    found: P | None = None
    for payload in payloads:
        if isinstance(payload, cls) and (role is None or getattr(payload, "role", None) == role):
            if found is not None:
                raise MalformedMessage("is given twice", field=describe(cls, role))
            found = payload
    return found


def one_payload(payloads: Iterable[Payload], cls: type[P], role: int | None = None) -> P:
    """Return the only payload of a class (and role); none or two raise `MalformedMessage`."""
    found = find_payload(payloads, cls, role)
    if found is None:
        raise MalformedMessage("is missing", field=describe(cls, role))
    return found


def all_payloads(payloads: Iterable[Payload], cls: type[P], role: int | None = None) -> tuple[P, ...]:
    """Return every payload of a class (and role), in order."""
    return tuple(
        payload
        for payload in payloads
        if isinstance(payload, cls) and (role is None or getattr(payload, "role", None) == role)
    )


def describe(cls: type[object], role: int | None) -> str:
    """Name a payload for an error: its class, and its role where it has one."""
    name = getattr(role, "name", role)
    return cls.__name__ if role is None else f"{cls.__name__} {name}"


def _offsets(start: int, octets: Iterable[bytes]) -> tuple[int, ...]:
    offsets = []
    for item in octets:
        offsets.append(start)
        start += len(item)
    return tuple(offsets)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was parsed, or built; ``raw`` are its octets and MACs are computed over those.

    ``offsets[n]`` is the first octet of ``payloads[n]`` in ``raw``.
    """

    header: Header
    payloads: tuple[Payload, ...]
    raw: bytes
    offsets: tuple[int, ...]

    @staticmethod
    def parse(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Message:
        """Read a whole message.

        Raises `LimitExceeded` when it is larger than *limits* allow, `MalformedMessage` for octets that do
        not follow the encoding (with field and offset), and the ``Unsupported...`` errors for registered
        fields with unknown values.
        """
        return parse_message(data, limits)

    @staticmethod
    def build(header: Header, payloads: Iterable[Payload]) -> Message:
        """Encode a message from its parts."""
        return build_message(header, payloads)

    def find(self, cls: type[P], role: int | None = None) -> P | None:
        """Return the only payload of a class (and role), or None; two raise `MalformedMessage`."""
        return find_payload(self.payloads, cls, role)

    def one(self, cls: type[P], role: int | None = None) -> P:
        """Return the only payload of a class (and role); none or two raise `MalformedMessage`."""
        return one_payload(self.payloads, cls, role)

    def all(self, cls: type[P], role: int | None = None) -> tuple[P, ...]:
        """Return every payload of a class (and role), in order."""
        return all_payloads(self.payloads, cls, role)

    def without_initiator_data(self) -> bytes:
        """Return the octets without Initiator Data and its length field (RFC 6043 section 5.5)."""
        for index, payload in enumerate(self.payloads):
            if isinstance(payload, TICKET):
                end = self.offsets[index + 1] if index + 1 < len(self.offsets) else len(self.raw)
                return self.raw[: end - payload.initiator_data_span] + self.raw[end:]
        return self.raw


@native
def parse_message(data: bytes, limits: Limits) -> Message:
    """Read a whole message, as `Message.parse` says."""
    if len(data) > limits.message_bytes:
        raise LimitExceeded(f"{len(data)} octets, at most {limits.message_bytes}", field="message")
    data = bytes(data)
    reader = Reader(data)
    header, first = Header.decode(reader, limits)
    payloads, offsets = decode_chain(first, reader, limits, "message")
    return Message(header, payloads, data, offsets)


@native
def build_message(header: Header, payloads: Iterable[Payload]) -> Message:
    """Encode a message from its parts, as `Message.build` says."""
    chain = tuple(payloads)
    if any(item.payload_type == PayloadType.SIGN for item in chain[:-1]):
        raise LocalError("SIGN has no Next Payload and so must be the last payload")
    first, octets = encode_payloads(chain)
    head = header.encode(first)
    return Message(header, chain, head + b"".join(octets), _offsets(len(head), octets))
