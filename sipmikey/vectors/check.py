"""Checking one vector of each kind: None where it holds, else what does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sipmikey.keys.derivation import initial_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.ticket.error_message import ErrorMessage
from sipmikey.ticket.mode import mode_of
from sipmikey.vectors.exchange import Rehearsal
from sipmikey.vectors.file import Vector, number, octets, part, text
from sipmikey.vectors.keys import observed, prf_output, with_forked
from sipmikey.vectors.payload import check_payload

_SHORTEST = 4
"""More differences than these are counted, not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a vector.

    ``faults`` is empty where it holds; ``note`` is worth reading even then. ``judged`` is False where the
    checker could not tell: that is its own failure, or the vector is not of the format.
    """

    kind: str
    name: str
    faults: tuple[str, ...]
    note: str = ""
    judged: bool = True


def check(vector: Vector, bases: Mapping[str, Vector]) -> Verdict:
    """Check a vector; *bases* are the exchange vectors that others rest on, by name."""
    kind, name = str(vector.get("kind")), str(vector.get("name"))
    note, judged = "", True
    try:
        if kind in _CHECKS:
            faults = _CHECKS[kind](vector)
        elif kind in _CHECKS_ON_BASE:
            base = bases.get(text(vector, "base", kind))
            if base is None:
                raise LocalError(f"base {vector['base']}: not found in the given files or beside them")
            faults, note = _CHECKS_ON_BASE[kind](vector, base)
        else:
            raise LocalError(f"unknown kind {kind}")
    except PeerError as error:
        faults = [f"refused: {error.reason}: {error}"]
    except (LocalError, ValueError, TypeError, KeyError) as error:
        faults, judged = [f"this checker cannot judge it: {error}"], False
    return Verdict(kind=kind, name=name, faults=tuple(faults), note=note, judged=judged)


def _prf(vector: Vector) -> list[str]:
    outkey = prf_output(
        text(vector, "prf", "prf"),
        octets(vector, "inkey", "prf"),
        octets(vector, "label", "prf"),
        number(vector, "outkey_bits", "prf"),
    )
    if outkey is None:
        return [f"unknown PRF {vector['prf']}"]
    expected = octets(vector, "outkey", "prf")
    return [] if outkey == expected else [f"outkey: expected {expected.hex()}, is {outkey.hex()}"]


def _exchange(vector: Vector) -> list[str]:
    rehearsal = Rehearsal(vector)
    found = with_forked(observed(rehearsal))
    for inner in ("branches", "reuse"):
        items = found.get(inner)
        if isinstance(items, list):
            for item in items:
                with_forked(item)
    expected = part(vector, "expect")
    if not expected:
        raise LocalError("expect is missing or empty: there is nothing to compare with")
    faults: list[str] = []
    if (mode := mode_of(rehearsal.grant.policy.flags)) != rehearsal.mode:
        faults.append(f"mode: expected {rehearsal.mode}, is {mode}")
    if found.get("same_at_initiator") is False:
        faults.append("the ticket holds other keys than the Initiator got")
    _compare(expected, found, "", faults)
    flags = vector.get("flags")
    if (
        rehearsal.one_way is not None
        and rehearsal.one_way.crypto_sessions != rehearsal.bundle.crypto_sessions
    ):
        faults.append("the Responder derives other keys than the Initiator")
    granted = str(rehearsal.grant.policy.flags)
    if flags is not None and flags != granted:
        faults.append(f"flags: expected {flags}, is {granted}")
    return faults


def _compare(expected: object, found: object, path: str, faults: list[str]) -> None:
    """Append where *found* lacks or contradicts what is *expected*; more than that may be found."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name, value in expected.items():
            inner = f"{path}.{name}" if path else str(name)
            if name not in found:
                faults.append(f"{inner}: expected, and not there")
            else:
                _compare(value, found[name], inner, faults)
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            faults.append(f"{path}: expected {len(expected)}, are {len(found)}")
        for index, (value, other) in enumerate(zip(expected, found, strict=False)):
            _compare(value, other, f"{path}[{index}]", faults)
    elif expected != found:
        faults.append(f"{path}: expected {expected}, is {found}")


def _reject(vector: Vector, base: Vector) -> tuple[list[str], str]:
    """Let the receiver judge the message that is put in, and then what it makes of the next one.

    RESOLVE_RESP may be in order by itself and give keys with which TRANSFER_INIT does not verify.
    """
    message = text(vector, "message", "reject")
    names = [message, "transfer_init"] if message == "resolve_resp" else [message]
    at_kms = message == "transfer_init" and vector.get("refused_by") == "kms"

    def judge(rehearsal: Rehearsal) -> None:
        for name in names:
            rehearsal.transfer_init_at_kms() if at_kms else rehearsal.run(name)

    try:
        judge(Rehearsal(base).holder(message))
    except PeerError as error:
        raise LocalError(f"its base is refused: {error}") from error
    try:
        judge(Rehearsal(base, replaced={message: octets(vector, "hex", "reject")}).holder(message))
    except PeerError as error:
        return [], f"{error.reason}: {error}"
    return ["was accepted"], ""


def _error(vector: Vector, base: Vector) -> tuple[list[str], str]:
    """Check an Error message about a message of *base*: its MAC, its numbers, and the key."""
    name = text(vector, "message", "error")
    rehearsal = Rehearsal(base)
    about = Message.parse(rehearsal.raw(name))
    suite = suite_of(about.header.prf)
    if name == "transfer_init":
        inkey = rehearsal.grant.mpk_i
    else:
        inkey = rehearsal.inkey("initiator" if name == "request_init" else "responder", name)
    rands = {
        "rand_i" if payload.role == 1 else "rand_r": payload.rand
        for payload in about.all(RANDR)
        if payload.role in (1, 2)
    }
    protection = initial_message_keys(Prf(suite.prf, inkey), about.header.csb_id, **rands)
    faults: list[str] = []
    auth_key = protection.auth_key(suite.mac_alg).reveal().hex()
    if auth_key != vector.get("auth_key"):
        faults.append(f"auth_key: expected {vector.get('auth_key')}, is {auth_key}")
    for form, authenticated in (("hex", True), ("unauthenticated", False)):
        message = Message.parse(octets(vector, form, "error"))
        read = ErrorMessage.read(rehearsal.env, message, about.header, suite, protection)
        if [int(item) for item in read.errors] != vector.get("errors"):
            faults.append(f"{form}: errors are {[int(item) for item in read.errors]}")
        if read.authenticated is not authenticated:
            faults.append(f"{form}: authenticated is {read.authenticated}")
    return faults, ""


_CHECKS: dict[str, Callable[[Vector], list[str]]] = {
    "prf": _prf,
    "exchange": _exchange,
    "payload": check_payload,
}
_CHECKS_ON_BASE: dict[str, Callable[[Vector, Vector], tuple[list[str], str]]] = {
    "reject": _reject,
    "error": _error,
}
