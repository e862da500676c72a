"""The messages of a capture as the steps of a ladder diagram. Keys are never shown in one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from sipmikey.decode.explain.message import Explanation, explain
from sipmikey.decode.sources import FoundMessage, TextMessage
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.registry import DataType, IdRole
from sipmikey.phone.ladder.picture import Step
from sipmikey.sip import SipMalformed, address_uri, list_items

_ASKERS = {
    DataType.REQUEST_INIT_PSK: IdRole.INITIATOR,
    DataType.REQUEST_INIT_PK: IdRole.INITIATOR,
    DataType.RESOLVE_INIT_PSK: IdRole.RESPONDER,
    DataType.RESOLVE_INIT_PK: IdRole.RESPONDER,
}
"""Messages to the KMS, and the identity of who sends them."""

Address = tuple[str, int]


class CapturedMessage(Protocol):
    """A message of a capture, as `sipmikey.decode.capture` gives it."""

    @property
    def time(self) -> float: ...
    @property
    def source(self) -> Address: ...
    @property
    def target(self) -> Address: ...
    @property
    def label(self) -> str: ...
    @property
    def content(self) -> TextMessage | None: ...
    @property
    def found(self) -> tuple[FoundMessage, ...]: ...


def capture_steps(messages: Sequence[CapturedMessage]) -> list[Step]:
    """Return one step a message, with the MIKEY messages in it named.

    A party is called by the identity it gives itself, so that its ports share a lane, and by its address
    where it gives none, more than one, or passes on what others sent.
    """
    explanations = [[explain(item.data) for item in message.found] for message in messages]
    names = _names(messages, explanations)
    steps = []
    for message, explained in zip(messages, explanations, strict=True):
        texts = [_summary(item, each) for item, each in zip(message.found, explained, strict=True)]
        steps.append(
            Step(
                time=message.time,
                source=names.get(message.source) or _lane(message.source),
                target=names.get(message.target) or _lane(message.target),
                text=" ".join([_short(message.label), *(f"[{text}]" for text in texts)]),
            )
        )
    return steps


def _names(
    messages: Sequence[CapturedMessage], explanations: Sequence[Sequence[Explanation]]
) -> dict[Address, str]:
    """Return what addresses are called: those of which exactly one thing is known."""
    known: dict[Address, set[str]] = {}
    for message, explained in zip(messages, explanations, strict=True):
        for address, name in (*_mikey_names(message, explained), *_sip_names(message)):
            known.setdefault(address, set()).add(name)
    proxies = _proxies(messages)
    return {
        address: next(iter(names))
        for address, names in known.items()
        if len(names) == 1 and address not in proxies
    }


def _mikey_names(message: CapturedMessage, explained: Iterable[Explanation]) -> Iterator[tuple[Address, str]]:
    for item in explained:
        if item.message is None or (role := _ASKERS.get(item.message.header.data_type)) is None:
            continue
        for idr in item.message.all(IDR, role)[:1]:
            yield message.source, idr.data.decode("utf-8", "replace")
        for idr in item.message.all(IDR, IdRole.KMS)[:1]:
            yield message.target, idr.data.decode("utf-8", "replace")


def _sip_names(message: CapturedMessage) -> Iterator[tuple[Address, str]]:
    """A sender with one Via is the user agent itself or a proxy; `_proxies` finds out which."""
    text = message.content
    if text is None or "SIP/2.0" not in text.start or len(_vias(text)) != 1:
        return
    response = text.start.startswith("SIP/2.0")
    if not (response and text.start.startswith("SIP/2.0 100")):
        with contextlib.suppress(SipMalformed):
            yield message.source, address_uri(text.header("to" if response else "from"))


def _vias(text: TextMessage) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(SipMalformed):
        for name, value in text.headers:
            if name == "via":
                found += list_items(value)
    return found


def _proxies(messages: Sequence[CapturedMessage]) -> set[Address]:
    """Return the addresses that send requests on which they received."""
    received: set[tuple[Address, str, str]] = set()
    found = set()
    for message in messages:
        text = message.content
        if text is None or text.start.startswith("SIP/2.0") or "SIP/2.0" not in text.start:
            continue
        transaction = (text.header("call-id"), text.header("cseq"))
        if (message.source, *transaction) in received:
            found.add(message.source)
        received.add((message.target, *transaction))
    return found


def _lane(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _short(label: str) -> str:
    """Return the method of a request, or the status of a response, of a start line."""
    words = label.split(" ")
    if words[0].startswith(("SIP/", "HTTP/")):
        return " ".join(words[1:])
    if words[-1].startswith("HTTP/") and len(words) > 1:
        return f"{words[0]} {words[1].partition('?')[2] or words[1]}"
    return words[0]


def _summary(found: FoundMessage, explanation: Explanation) -> str:
    """Return the name of a MIKEY message, and whether something is wrong with it."""
    if not found.data:
        return "no MIKEY"
    wrong = found.problems or any(item.kind == "error" for item in explanation.findings)
    return f"{explanation.name}: wrong" if wrong else explanation.name
