"""Describing a whole message, as far as its octets can be followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sipmikey.decode.explain.node import FaultError, Finding, Node
from sipmikey.decode.explain.payloads import chain
from sipmikey.decode.explain.rules import broken_rules
from sipmikey.decode.explain.scribe import Scribe
from sipmikey.decode.explain.words import is_registered, meaning
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.limits import DEFAULT_LIMITS, Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import MIKEY_VERSION, CsIdMapType, DataType, PayloadType, PrfFunc, ProtType

MAX_OCTETS = DEFAULT_LIMITS.message_bytes
"""Longest message that is described."""

_GENEROUS = Limits(crypto_sessions=255, payloads=1024, certificates=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of a message.

    ``name`` is that of its data type. ``message`` is the parsed message, None where a fault stops parsing;
    ``nodes`` then describe what stands before the fault.
    """

    name: str
    octets: int
    nodes: list[Node]
    findings: list[Finding]
    message: Message | None


def explain(data: bytes) -> Explanation:
    """Describe *data*, which may be anything."""
    scribe = Scribe(data[:MAX_OCTETS])
    findings: list[Finding] = []
    try:
        if len(data) > MAX_OCTETS:
            raise FaultError("message", f"{len(data)} octets, at most {MAX_OCTETS} are read", 0)
        first = _header(scribe)
        chain(scribe, first)
        if scribe.remaining:
            raise FaultError("message", f"{scribe.remaining} octets after the last payload", scribe.position)
    except FaultError as fault:
        findings.append(fault.finding)
    message = None
    try:
        message = Message.parse(data, _GENEROUS)
        Message.parse(data)
    except PeerError as error:
        if not findings:
            # What parses with generous limits is well-formed, and still more than a peer need read.
            findings.append(_refusal(error, "error" if message is None else "warning"))
    findings += scribe.warnings
    if message is not None:
        findings += broken_rules(message)
    name = "not a MIKEY message"
    if len(data) > 1 and data[0] == MIKEY_VERSION:
        name = DataType(data[1]).name if is_registered(DataType, data[1]) else f"data type {data[1]}"
    return Explanation(
        name=name, octets=len(data), nodes=scribe.nodes, findings=_once(findings), message=message
    )


def _refusal(error: PeerError, kind: Literal["error", "warning"]) -> Finding:
    return Finding(
        kind=kind, field=error.field or "message", detail=error.detail, offset=error.offset,
        section=error.section or "",
    )  # fmt: skip


def _once(findings: list[Finding]) -> list[Finding]:
    """Leave out what has been said of the same place already: an error stands for the warning beside it."""
    errors = {(item.field, item.offset) for item in findings if item.kind == "error"}
    kept = [item for item in findings if item.kind == "error" or (item.field, item.offset) not in errors]
    return list(dict.fromkeys(kept))


def _header(scribe: Scribe) -> int:
    """Describe HDR; return the number of the first payload."""
    with scribe.group("HDR", "RFC 3830 section 6.1, RFC 6043 section 6.1") as node:
        if (version := scribe.number(1, "version")) != MIKEY_VERSION:
            raise FaultError("version", f"{version} is not MIKEY version 1", 0)
        data_type = scribe.choice(DataType, "data type")
        node.meaning = meaning(DataType, data_type)
        first = scribe.choice(PayloadType, "next payload")
        octet = scribe.take(1, "V and PRF func")[0]
        scribe.note("V", 1, octet >> 7, "response expected" if octet >> 7 else "no response expected")
        scribe.note("PRF func", 1, octet & 0x7F, meaning(PrfFunc, octet & 0x7F))
        scribe.unregistered(PrfFunc, octet & 0x7F, "PRF func", scribe.position - 1)
        scribe.identifier(4, "CSB ID")
        count = scribe.number(1, "#CS", "crypto sessions")
        map_type = scribe.choice(CsIdMapType, "CS ID map type")
        if map_type == CsIdMapType.SRTP_ID:
            for number in range(1, count + 1):
                _srtp_id(scribe, number)
        elif map_type == CsIdMapType.GENERIC_ID:
            for _ in range(count):
                _generic_id(scribe)
        elif map_type != CsIdMapType.EMPTY:
            raise FaultError(
                "CS ID map type", f"unknown map {map_type}, so of unknown length", scribe.position - 1
            )
    return first


def _srtp_id(scribe: Scribe, number: int) -> None:
    with scribe.group(f"crypto session {number}", "RFC 3830 section 6.1.1"):
        scribe.number(1, "Policy_no")
        scribe.identifier(4, "SSRC")
        scribe.number(4, "ROC")


def _generic_id(scribe: Scribe) -> None:
    with scribe.group("crypto session", "RFC 6043 section 6.1.1") as node:
        node.name = f"crypto session {scribe.number(1, 'CS ID')}"
        protocol = scribe.choice(ProtType, "Prot type")
        octet = scribe.take(1, "S and #P")[0]
        scribe.note("S", 1, octet >> 7, "ROC and SEQ given" if octet >> 7 else "no ROC and SEQ")
        scribe.note("#P", 1, octet & 0x7F, "policies")
        for _ in range(octet & 0x7F):
            scribe.number(1, "Policy_no")
        length = scribe.number(2, "Session Data Length")
        if protocol == ProtType.SRTP and length == (10 if octet >> 7 else 4):
            scribe.identifier(4, "SSRC")
            if octet >> 7:
                scribe.number(4, "ROC")
                scribe.number(2, "SEQ")
        else:
            scribe.octets(length, "Session Data")
        scribe.counted(1, "SPI")
