"""Rules about a whole message that its encoding does not enforce."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from sipmikey.decode.explain.node import Finding
from sipmikey.keys.suite import suite_of
from sipmikey.mikey.certificate import SIGN
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.header import SrtpSessionData
from sipmikey.mikey.identity import ID, IDR
from sipmikey.mikey.kemac import KEMAC
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RAND, RANDR
from sipmikey.mikey.registry import CsIdMapType, DataType, EncrAlg, IdRole, MacAlg, ProtType, RandRole
from sipmikey.mikey.security_policy import SP, SrtpPolicy
from sipmikey.mikey.ticket import TICKET, TP
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import ERR, V
from sipmikey.ticket.policy import TicketPolicy

_KMS_EXCHANGES = frozenset(
    {
        DataType.REQUEST_INIT_PSK,
        DataType.REQUEST_INIT_PK,
        DataType.REQUEST_RESP,
        DataType.RESOLVE_INIT_PSK,
        DataType.RESOLVE_INIT_PK,
        DataType.RESOLVE_RESP,
    }
)
_TRANSFER = frozenset({DataType.TRANSFER_INIT, DataType.TRANSFER_RESP})
_SIGNED = frozenset({DataType.REQUEST_INIT_PK, DataType.RESOLVE_INIT_PK})
_TICKET_FAMILY = _KMS_EXCHANGES | _TRANSFER

_DAY_NS = 86_400 * 1_000_000_000
_OLD_DAYS = 366

_Needed = tuple[type[Payload], int | None, str]
_NEEDED: dict[DataType, tuple[_Needed, ...]] = {
    DataType.REQUEST_INIT_PSK: ((RANDR, RandRole.INITIATOR, "4.2.1.1"), (TP, None, "4.2.1")),
    DataType.REQUEST_INIT_PK: ((RANDR, RandRole.INITIATOR, "4.2.1.1"), (TP, None, "4.2.1")),
    DataType.REQUEST_RESP: ((TICKET, None, "4.2.1.5"), (KEMAC, None, "4.2.1.5")),
    DataType.RESOLVE_INIT_PSK: ((RANDR, RandRole.RESPONDER, "4.2.3.1"), (TICKET, None, "4.2.3.1")),
    DataType.RESOLVE_INIT_PK: ((RANDR, RandRole.RESPONDER, "4.2.3.1"), (TICKET, None, "4.2.3.1")),
    DataType.RESOLVE_RESP: ((KEMAC, None, "4.2.3.5"),),
    DataType.ERROR: ((ERR, None, "5.4"),),
}


def broken_rules(message: Message) -> list[Finding]:
    """Return what is wrong or doubtful about a message that parses."""
    if message.header.data_type not in _TICKET_FAMILY | {DataType.ERROR}:
        return list(_in_the_clear(message))
    return [finding for rule in _RULES for finding in rule(message)]


def clock_doubts(message: Message, now_ns: int) -> list[Finding]:
    """Return a doubt where T is so far from *now_ns* that it may be of another epoch or unit."""
    found = message.all(T)
    if not found or not found[0].timestamp.is_clock:
        return []
    days = (found[0].timestamp.unix_ns() - now_ns) / _DAY_NS
    if abs(days) < _OLD_DAYS:
        return []
    side = "ahead of" if days > 0 else "behind"
    detail = f"{abs(days) / 365.25:.1f} years {side} this clock: an old capture, or no NTP time"
    return [
        _warning(detail, "T", "RFC 3830 section 4.2.8", message.offsets[message.payloads.index(found[0])])
    ]


def _error(detail: str, field: str, section: str = "", offset: int | None = None) -> Finding:
    return Finding(kind="error", detail=detail, field=field, section=section, offset=offset)


def _warning(detail: str, field: str, section: str = "", offset: int | None = None) -> Finding:
    return Finding(kind="warning", detail=detail, field=field, section=section, offset=offset)


def _in_the_clear(message: Message) -> Iterator[Finding]:
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        if isinstance(payload, KEMAC) and payload.encr_alg is EncrAlg.NULL and payload.encr_data:
            yield _warning(
                "keys without encryption: who reads this message can decrypt the media",
                "KEMAC",
                "RFC 3830 section 4.2.3",
                offset,
            )


def _map(message: Message) -> Iterator[Finding]:
    header = message.header
    if header.data_type in _KMS_EXCHANGES:
        if header.map_type is not CsIdMapType.EMPTY:
            yield _error("must be the Empty map", "CS ID map type", "RFC 6043 section 4.2.1.1", 9)
        if header.cs_count:
            yield _error("must be 0", "#CS", "RFC 6043 section 4.2.1.1", 8)
    elif header.data_type in _TRANSFER and header.map_type is CsIdMapType.SRTP_ID:
        yield _error("SRTP-ID shall not be used here", "CS ID map type", "RFC 6043 section 6.1", 9)


def _sessions(message: Message) -> Iterator[Finding]:
    entries = message.header.generic_ids()
    for cs_id, count in Counter(entry.cs_id for entry in entries).items():
        if count > 1:
            yield _error(f"CS ID {cs_id} stands for {count} crypto sessions", "CS ID map info")
    response = message.header.data_type is DataType.TRANSFER_RESP
    for entry in entries:
        where = f"crypto session {entry.cs_id}"
        if entry.prot_type == ProtType.SRTP:
            try:
                data = SrtpSessionData.of(entry)
            except PeerError as error:
                yield _error(error.detail, where, "RFC 6043 section 6.1.1")
                continue
            if response and data is None:
                yield _error("no Session Data in a response", where, "RFC 6043 section 6.1.1")
        if response and not entry.spi:
            yield _error("no SPI in a response", where, "RFC 6043 section 6.1.1")
        if response and len(entry.policies) != 1:
            yield _error(
                f"{len(entry.policies)} policies in a response, not 1", where, "RFC 6043 section 6.1.1"
            )


def _presence(message: Message) -> Iterator[Finding]:
    if not message.all(T):
        yield _error("is missing", "T", "RFC 6043 section 4.2")
    for cls, role, section in _NEEDED.get(message.header.data_type, ()):
        if not message.all(cls, role):
            name = cls.__name__ if role is None else f"{cls.__name__} {RandRole(role).name}"
            yield _error("is missing", name, f"RFC 6043 {section}")
    if message.header.data_type is DataType.TRANSFER_INIT:
        if not message.all(TICKET):
            yield _warning("is missing: this can only be a CSB update", "TICKET", "RFC 6043 section 5.2")
        elif not message.all(RANDR, RandRole.INITIATOR):
            yield _error("is missing", "RANDR INITIATOR", "RFC 6043 section 4.2.2.1")


def _last(message: Message) -> Iterator[Finding]:
    data_type = message.header.data_type
    if data_type is DataType.ERROR:
        return
    wanted = SIGN if data_type in _SIGNED else V
    if not message.payloads or not isinstance(message.payloads[-1], wanted):
        yield _error(f"the last payload must be {wanted.__name__}", wanted.__name__, "RFC 6043 section 4.2")


def _twice(message: Message) -> Iterator[Finding]:
    seen: Counter[str] = Counter()
    for payload in message.payloads:
        name = type(payload).__name__
        if isinstance(payload, IDR | RANDR):
            role = payload.role
            name = f"{name} {getattr(role, 'name', role)}"
        elif isinstance(payload, SP):
            name = f"SP number {payload.policy_no}"
        elif not isinstance(payload, T | TP | TICKET | KEMAC | V | SIGN):
            continue
        seen[name] += 1
    for name, count in seen.items():
        if count > 1:
            yield _error(f"stands here {count} times", name)


def _old_payloads(message: Message) -> Iterator[Finding]:
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        if isinstance(payload, ID):
            yield _error("MIKEY-TICKET uses IDR instead", "ID", "RFC 6043 section 6.6", offset)
        elif isinstance(payload, RAND):
            yield _warning("MIKEY-TICKET uses RANDR instead", "RAND", "RFC 6043 section 6.8", offset)


def _suite(message: Message) -> Iterator[Finding]:
    suite = suite_of(message.header.prf)
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        if isinstance(payload, V) and payload.auth_alg is MacAlg.NULL:
            yield _error("the NULL MAC protects nothing", "V", "RFC 3830 section 4.2.4", offset)
        elif isinstance(payload, V) and payload.auth_alg is not suite.mac_alg:
            yield _error(
                f"{payload.auth_alg.name} is not of the PRF's suite", "V", "RFC 6043 section 12.1", offset
            )
        elif isinstance(payload, KEMAC):
            if payload.encr_alg is EncrAlg.NULL:
                yield _error("keys without encryption", "KEMAC", "RFC 3830 section 4.2.3", offset)
            elif payload.encr_alg not in suite.encr_algs:
                name = payload.encr_alg.name
                yield _error(f"{name} is not of the PRF's suite", "KEMAC", "RFC 6043 section 12.1", offset)
            if payload.mac_alg is not MacAlg.NULL:
                yield _error(
                    "must use the NULL MAC: V has the MAC", "KEMAC", "RFC 6043 section 4.2.1.5", offset
                )


def _randoms(message: Message) -> Iterator[Finding]:
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        if isinstance(payload, RANDR) and len(payload.rand) < 16:
            yield _warning(
                f"{len(payload.rand)} octets; should have at least 16",
                "RANDR",
                "RFC 3830 section 6.11",
                offset,
            )


def _policies(message: Message) -> Iterator[Finding]:
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        try:
            if isinstance(payload, TP | TICKET):
                policy = TicketPolicy.of(payload)
                if isinstance(payload, TICKET):
                    policy.check_type()
            elif isinstance(payload, SP) and payload.prot_type == ProtType.SRTP:
                SrtpPolicy.from_payload(payload)
        except PeerError as error:
            name = error.field or type(payload).__name__
            yield _error(error.detail, name, error.section or "", error.offset or offset)


def _forking(message: Message) -> Iterator[Finding]:
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        if not isinstance(payload, TICKET):
            continue
        if message.header.data_type is DataType.REQUEST_RESP:
            if payload.initiator_data:
                yield _error(
                    "is not yet there in REQUEST_RESP", "Initiator Data", "RFC 6043 section 6.10", offset
                )
        elif payload.flags.key_forking and not payload.initiator_data:
            yield _error(
                "is missing although keys are forked", "Initiator Data", "RFC 6043 section 6.10", offset
            )
        elif payload.initiator_data and not payload.flags.key_forking:
            yield _error(
                "is there although keys are not forked", "Initiator Data", "RFC 6043 section 6.10", offset
            )


def _identities(message: Message) -> Iterator[Finding]:
    data_type = message.header.data_type
    expected = {
        DataType.REQUEST_INIT_PSK: (IdRole.INITIATOR, IdRole.KMS),
        DataType.REQUEST_INIT_PK: (IdRole.INITIATOR, IdRole.KMS),
        DataType.RESOLVE_INIT_PSK: (IdRole.RESPONDER, IdRole.KMS),
        DataType.RESOLVE_INIT_PK: (IdRole.RESPONDER, IdRole.KMS),
        DataType.TRANSFER_INIT: (IdRole.INITIATOR, IdRole.RESPONDER),
    }.get(data_type, ())
    for role in expected:
        if not message.all(IDR, role):
            yield _warning(
                "is left out: the MAC then covers the name known locally",
                f"IDR {role.name}",
                "RFC 6043 section 5.5",
            )


_RULES: tuple[Callable[[Message], Iterator[Finding]], ...] = (
    _map, _sessions, _presence, _last, _twice, _old_payloads, _suite, _randoms, _policies, _forking,
    _identities,
)  # fmt: skip
