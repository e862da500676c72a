"""Our own KMS with a requirement broken: for others' clients, and to show that the suite finds the break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sipmikey.conformance.authority import Authority
from sipmikey.conformance.broken import public_key as broken_public_key
from sipmikey.conformance.broken.public_key import PublicKeyBreaks
from sipmikey.conformance.forge import (
    Edit,
    Forger,
    before_last,
    named,
    replacing,
    shifted_time,
    with_header,
    without,
)
from sipmikey.conformance.kms_subject import Party, Reply
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.service import KeyManagementService, KmsSettings, Outcome, run
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord
from sipmikey.kms.tpk import TpkRecord
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.header import GenericIdEntry
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData, encode_key_data
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import (
    CsIdMapType,
    DataType,
    EncrAlg,
    IdRole,
    IdType,
    KeyDataType,
    RandRole,
    TsRole,
)
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TicketFlag
from sipmikey.mikey.timestamp import TR, T, Timestamp
from sipmikey.ticket.credentials import CertificateCredential, TicketProtectionKey
from sipmikey.ticket.environment import Environment

_POLICY = """
[[rule]]
name = "everybody"
from = ["*"]
to = ["*"]
decision = "allow"
"""

_OTHER = "sip:mallory@elsewhere.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    """A response about to be sent, and what it takes to protect another."""

    forger: Forger
    rands: tuple[RANDR, ...]
    init: Message
    first_keys: tuple[KeyData, ...]

    def edited(self, edit: Edit) -> bytes:
        return self.forger.variant(edit, rands=self.rands)

    def headed(self, **changes: object) -> bytes:
        header = with_header(self.forger.message, **changes)
        return self.forger.variant(header=header, rands=self.rands)

    def rekeyed(self, change: Callable[[tuple[KeyData, ...]], Iterable[KeyData]]) -> bytes:
        return self.forger.rekeyed(lambda keys: tuple(change(keys)), self.rands)


Change = Callable[[_Response], bytes]


def _reticketed(change: Callable[[TICKET], TICKET]) -> Change:
    return lambda response: response.edited(replacing(TICKET, change))


def _in_policy(edit: Edit, *, flags: TicketFlag | None = None) -> Change:
    def change(ticket: TICKET) -> TICKET:
        granted = ticket.flags if flags is None else ticket.flags.with_flag(flags, True)
        return replace(ticket, payloads=tuple(edit(list(ticket.payloads))), flags=granted, policy_octets=b"")

    return _reticketed(change)


def _in_the_clear(response: _Response) -> bytes:
    keys = response.forger.keys(response.rands)
    kemac = KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data(keys))
    return response.edited(replacing(KEMAC, lambda _: kemac))


def _with_other_iv(response: _Response) -> bytes:
    stamp = response.init.one(T).timestamp
    return response.forger.rekeyed(lambda keys: keys, response.rands, timestamp=stamp)


def _initial_keys(response: _Response) -> bytes:
    """Protect the response with the keys of an initial message."""
    forger = response.forger
    init_keys = Forger(message=response.init, inkey=forger.inkey, following=b"").protection(response.init)
    return forger.variant(protection=init_keys, rands=response.rands)


def _ended(seconds: int) -> Edit:
    def change(payload: TR) -> TR:
        moved = payload.timestamp.unix_ns() // 1_000_000_000 + seconds
        return TR(role=payload.role, timestamp=Timestamp.ntp_utc_32(moved))

    return replacing(TR, change, TsRole.END)


def _unlike(key: KeyData) -> KeyData:
    octets = key.key.reveal()
    return replace(key, key=Secret(octets[::-1] if octets[::-1] != octets else bytes(len(octets))))


def _first_of_type(keys: tuple[KeyData, ...], mpk: bool) -> int:
    return next(n for n, key in enumerate(keys) if (key.key_type is KeyDataType.MPK) is mpk)


def _changed(
    keys: tuple[KeyData, ...], index: int, change: Callable[[KeyData], KeyData]
) -> Iterable[KeyData]:
    return [change(key) if number == index else key for number, key in enumerate(keys)]


def _session(change: Callable[[KeyData], KeyData]) -> Change:
    return lambda r: r.rekeyed(lambda keys: _changed(keys, _first_of_type(keys, False), change))


def _one_mpk_less(keys: tuple[KeyData, ...]) -> Iterable[KeyData]:
    mpks = [key for key in keys if key.key_type is KeyDataType.MPK]
    return keys if len(mpks) == 1 else [mpks[0], *keys[len(mpks) :]]


def _earlier_keys(response: _Response) -> bytes:
    """Give the keys of the first ticket: who got that one can read calls with this one."""
    return response.rekeyed(lambda _: response.first_keys)


_GROUP = GenericIdEntry(cs_id=1)
_THE_SAME = RANDR(role=RandRole.KMS, rand=b"k" * 32)

RESPONSES: dict[str, tuple[str, DataType, Change]] = {
    "request-resp-csb-id": ("CSB ID is another", DataType.REQUEST_RESP,
        lambda r: r.headed(csb_id=r.init.header.csb_id ^ 1)),
    "request-resp-empty-map": ("the map is GENERIC-ID with one crypto session", DataType.REQUEST_RESP,
        lambda r: r.headed(map_type=CsIdMapType.GENERIC_ID, crypto_sessions=(_GROUP,))),
    "request-resp-v-flag": ("the V flag is 1", DataType.REQUEST_RESP, lambda r: r.headed(v=True)),
    "request-resp-stale": ("T is of a day ago", DataType.REQUEST_RESP,
        lambda r: r.edited(shifted_time(-86_400))),
    "request-resp-repeats-t": ("T is that of REQUEST_INIT", DataType.REQUEST_RESP,
        lambda r: r.edited(replacing(T, lambda _: r.init.one(T)))),
    "request-resp-no-idrkms": ("IDRkms is left out", DataType.REQUEST_RESP,
        lambda r: r.edited(without(IDR, IdRole.KMS))),
    "request-resp-v-first": ("V is not the last payload", DataType.REQUEST_RESP,
        lambda r: r.edited(lambda p: [p[-1], *p[:-1]])),
    "request-resp-mac-alone": ("the MAC does not cover REQUEST_INIT", DataType.REQUEST_RESP,
        lambda r: r.forger.variant(following=b"", rands=r.rands)),
    "request-resp-initial-keys": ("protected with the keys of an initial message", DataType.REQUEST_RESP,
        _initial_keys),
    "request-resp-clear": ("the keys are not encrypted", DataType.REQUEST_RESP, _in_the_clear),
    "request-resp-iv": ("the IV is made of the T of REQUEST_INIT", DataType.REQUEST_RESP, _with_other_iv),
    "request-resp-mpk-last": ("MPKi is the last key", DataType.REQUEST_RESP,
        lambda r: r.rekeyed(lambda keys: (*keys[1:], keys[0]))),
    "request-resp-no-mpkr": ("MPKr is left out", DataType.REQUEST_RESP, lambda r: r.rekeyed(_one_mpk_less)),
    "request-resp-no-spi": ("a session key has no SPI", DataType.REQUEST_RESP,
        _session(lambda key: replace(key, spi=None))),
    "request-resp-short-key": ("a session key has 64 bits", DataType.REQUEST_RESP,
        _session(lambda key: replace(key, key=Secret(key.key.reveal()[:8])))),
    "request-resp-no-session-key": ("no session key is given", DataType.REQUEST_RESP,
        lambda r: r.rekeyed(lambda keys: [key for key in keys if key.key_type is KeyDataType.MPK])),
    "request-resp-initiator-data": ("the TICKET has Initiator Data", DataType.REQUEST_RESP,
        _reticketed(lambda t: t.with_data(initiator_data=b"\0"))),
    "request-resp-silent-change": ("the policy is changed although K is 0", DataType.REQUEST_RESP,
        _reticketed(lambda t: replace(
            t, flags=t.flags.with_flag(TicketFlag.J, True), policy_octets=b""))),
    "request-resp-other-responder": ("somebody else may resolve the ticket", DataType.REQUEST_RESP,
        _in_policy(before_last(IDR(role=IdRole.RESPONDER, id_type=IdType.URI, data=_OTHER.encode())),
                   flags=TicketFlag.K)),
    "request-resp-other-initiator": ("the ticket is of another Initiator", DataType.REQUEST_RESP,
        _in_policy(named(IdRole.INITIATOR, _OTHER), flags=TicketFlag.K)),
    "request-resp-longer": ("the ticket lives longer than asked", DataType.REQUEST_RESP,
        _in_policy(_ended(86_400), flags=TicketFlag.K)),
    "request-resp-ended": ("the ticket has ended", DataType.REQUEST_RESP,
        _in_policy(_ended(-86_400), flags=TicketFlag.K)),
    "request-resp-same-keys": ("every ticket has the keys of the first", DataType.REQUEST_RESP,
        _earlier_keys),
    "resolve-resp-csb-id": ("CSB ID is another", DataType.RESOLVE_RESP,
        lambda r: r.headed(csb_id=r.init.header.csb_id ^ 1)),
    "resolve-resp-v-first": ("V is not the last payload", DataType.RESOLVE_RESP,
        lambda r: r.edited(lambda p: [p[-1], *p[:-1]])),
    "resolve-resp-mac-alone": ("the MAC does not cover RESOLVE_INIT", DataType.RESOLVE_RESP,
        lambda r: r.forger.variant(following=b"", rands=r.rands)),
    "resolve-resp-initial-keys": ("protected with the keys of an initial message", DataType.RESOLVE_RESP,
        _initial_keys),
    "resolve-resp-stale": ("T is of a day ago", DataType.RESOLVE_RESP,
        lambda r: r.edited(shifted_time(-86_400))),
    "resolve-resp-clear": ("the keys are not encrypted", DataType.RESOLVE_RESP, _in_the_clear),
    "resolve-resp-no-idrr": ("IDRr is left out", DataType.RESOLVE_RESP,
        lambda r: r.edited(without(IDR, IdRole.RESPONDER))),
    "resolve-resp-other-idrr": ("IDRr is somebody else", DataType.RESOLVE_RESP,
        lambda r: r.edited(named(IdRole.RESPONDER, _OTHER))),
    "resolve-resp-no-randrkms": ("RANDRkms is left out", DataType.RESOLVE_RESP,
        lambda r: r.edited(without(RANDR, RandRole.KMS))),
    "resolve-resp-same-randrkms": ("RANDRkms is always the same", DataType.RESOLVE_RESP,
        lambda r: r.edited(replacing(RANDR, lambda _: _THE_SAME, RandRole.KMS))),
    "resolve-resp-other-mpki": ("MPKi is another", DataType.RESOLVE_RESP,
        lambda r: r.rekeyed(lambda keys: _changed(keys, 0, _unlike))),
    "resolve-resp-other-mpkr": ("MPKr' is not forked as it should be", DataType.RESOLVE_RESP,
        lambda r: r.rekeyed(lambda keys: _changed(keys, 1, _unlike))),
    "resolve-resp-other-key": ("a session key is another", DataType.RESOLVE_RESP, _session(_unlike)),
    "resolve-resp-other-spi": ("a session key has another SPI", DataType.RESOLVE_RESP,
        _session(lambda key: replace(key, spi=b"none"))),
}  # fmt: skip
"""Break -> what it is, the response it is in, and the change that makes it."""

LENIENCES: dict[str, tuple[str, str, str]] = {
    "takes-bad-macs": ("a MAC is not verified", "auth-failure", "V:"),
    "takes-altered-tickets": (
        "the MAC of a ticket is not verified",
        "invalid-ticket",
        "TICKET: Ticket Data V",
    ),
    "takes-replays": ("a message is taken twice", "replayed-message", ""),
    "takes-any-time": ("T may be of any time", "invalid-timestamp", ""),
    "takes-no-t": ("T may be left out", "malformed-message", "T: is missing"),
    "takes-two-t": ("T may stand twice", "malformed-message", "T: is given twice"),
    "takes-no-randr": ("RANDRi and RANDRr may be left out", "malformed-message", "RANDR"),
    "takes-no-tp": ("TP may be left out", "malformed-message", "TP: is missing"),
    "takes-no-ticket": ("TICKET may be left out", "malformed-message", "TICKET: is missing"),
    "takes-crypto-sessions": ("crypto sessions are taken", "malformed-message", "CS ID map"),
    "takes-other-kms": ("messages for another KMS are taken", "invalid-identity", "IDRkms"),
    "takes-any-identity": ("a key may be used by others than its owner", "identity-not-owned", "IDRi"),
    "takes-others-names": ("tickets are made in others' names", "identity-not-owned", "TP IDRi"),
    "takes-other-data-types": ("what is not for a KMS is taken", "unsupported-data-type", ""),
    "takes-trailing-octets": ("octets after the last payload are taken", "malformed-message", "message:"),
    "takes-cut-messages": ("messages cut short are taken", "malformed-message", "Ver data"),
    "takes-unknown-keys": ("unknown keys are taken", "unknown-key", ""),
    "takes-broken-flags": ("flags that break the rules are taken", "invalid-ticket-policy", "TP flags"),
    "takes-any-initiator-data": ("Vr is not verified", "invalid-ticket", "TICKET: Initiator Data"),
    "takes-no-initiator-data": ("Initiator Data may be left out", "malformed-message", "Initiator Data"),
    "takes-other-responders": ("anybody may resolve a ticket", "not-authorized", "IDRr"),
}
"""Break -> what it is, and the refusals of our own KMS that it lifts: reason word and first words."""

ERRORS = {
    "error-csb-id": "an Error message has another CSB ID",
    "refuses-everything": "nothing is answered",
}

BREAKS: dict[str, str] = {
    **{name: f"{item[1].name}: {item[0]}" for name, item in RESPONSES.items()},
    **{name: item[0] for name, item in LENIENCES.items()},
    **ERRORS,
    **broken_public_key.BREAKS,
}
"""Every break, and what it is."""


@dataclass(slots=True, kw_only=True)
class BrokenKms:
    """Our own KMS on a store in *folder*, with the requirement *broken*, if any, broken.

    With an *authority* it takes the public-key variants too, and the certificate of *revoked* is revoked.
    With a *ticket_key* it resolves the tickets that the first of *parties* makes with it.
    Raises `LocalError` for a break it does not know.
    """

    env: Environment
    folder: Path
    identity: str
    parties: tuple[Party, ...]
    broken: str | None = None
    authority: Authority | None = None
    revoked: tuple[CertificateCredential, ...] = ()
    ticket_key: TicketProtectionKey | None = None
    _service: KeyManagementService = field(init=False)
    _first: dict[str, tuple[KeyData, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _public_key: PublicKeyBreaks | None = None

    def __post_init__(self) -> None:
        if self.broken is not None and self.broken not in BREAKS:
            raise LocalError(f"there is no break {self.broken!r}; --list names them")
        key = Secret(self.env.random(32))
        store = run(open_store(f"sqlite:{self.folder}/kms.sqlite", key, create=True, now_ns=self.env.now_ns))
        people = [
            SubscriberRecord(
                name=f"user{number}",
                identities=(party.uri,),
                psks=(PskRecord(key_id=party.key_id or f"user{number}".encode(), key=party.key),),
            )
            for number, party in enumerate(self.parties, 1)
        ]
        run(store.subscribers.load(people))
        if self.ticket_key is not None:
            now_s = self.env.now_ns() // 1_000_000_000
            shared = TpkRecord(
                key_id=self.ticket_key.key_id or b"caller",
                key=self.ticket_key.key,
                owner=people[0].name,
                created_s=now_s,
                resolves_until_s=now_s,
            )
            run(store.ticket_keys.share(shared, now_s=now_s))
        settings = KmsSettings(identity=self.identity)
        if self.authority is not None:
            revocation = self.authority.revocation(*self.revoked)
            settings = replace(
                settings,
                key_pairs=(self.authority.kms,),
                trust_anchors=(self.authority.certificate,),
                revocation=lambda: revocation,
            )
            self._public_key = PublicKeyBreaks(authority=self.authority, broken=self.broken)
        self._service = KeyManagementService(self.env, settings, parse_policy(_POLICY), store.lookups())

    def answer(self, kind: str, octets: bytes) -> Reply:
        """Answer a message as the KMS does, or as the break has it. *kind* is the ``requesttype``."""
        with self._lock:  # the store has one writer
            outcome = run(self._service.handle(octets))
        if self.broken == "refuses-everything":
            return Reply(status=403, body=b"")
        public_key = self._public_key
        if public_key is not None and public_key.refuses(octets):
            return Reply(status=403, body=b"")
        if outcome.granted:
            return Reply(status=200, body=self._response(octets, outcome.body or b""))
        taken = public_key is not None and public_key.takes(octets, outcome.reason)
        if taken or self._lifted(outcome):
            return Reply(status=200, body=self._given_anyway(kind))
        return Reply(status=outcome.status, body=self._error(outcome.body or b""))

    def _lifted(self, outcome: Outcome) -> bool:
        found = {**LENIENCES, **broken_public_key.LENIENCES}.get(self.broken or "")
        if found is None:
            return False
        _, reason, part = found
        return outcome.reason == reason and outcome.event.detail.startswith(part)

    def _given_anyway(self, kind: str) -> bytes:
        """Return a response without keys, as its data type alone tells that the message was taken."""
        data_type = DataType.RESOLVE_RESP if kind == "ticketresolve" else DataType.REQUEST_RESP
        return bytes((1, data_type)) + bytes(30)

    def _error(self, body: bytes) -> bytes:
        if self.broken != "error-csb-id" or len(body) < 8:
            return body
        return body[:7] + bytes((body[7] ^ 1,)) + body[8:]

    def _response(self, octets: bytes, body: bytes) -> bytes:
        init, message = Message.parse(octets), Message.parse(body)
        if self.broken == "ignores-envelopes" and init.header.data_type in broken_public_key.PK_INITS:
            forger = Forger(message=message, inkey=self._key_of(init), following=octets)
            return replace(forger, inkey=Secret(bytes(32))).variant(rands=init.all(RANDR))
        if self.broken not in RESPONSES:
            return body
        _, data_type, change = RESPONSES[self.broken]
        if message.header.data_type is not data_type:
            return body
        forger = Forger(message=message, inkey=self._key_of(init), following=octets)
        first = self._first_keys(init, forger)
        return change(_Response(forger=forger, rands=init.all(RANDR), init=init, first_keys=first))

    def _key_of(self, init: Message) -> Secret:
        """Return the key that protects *init*, which was verified and names its sender."""
        envelope_key = None if self._public_key is None else self._public_key.key(init)
        if envelope_key is not None:
            return envelope_key
        names = [item.data for item in init.all(IDR) if item.role in (IdRole.INITIATOR, IdRole.RESPONDER)]
        return next(party.key for party in self.parties if party.uri.encode() in names)

    def _first_keys(self, init: Message, forger: Forger) -> tuple[KeyData, ...]:
        """Return the keys of the first ticket with the flags of this one."""
        ticket = forger.message.find(TICKET)
        if ticket is None:
            return ()
        return self._first.setdefault(str(ticket.flags), forger.keys(init.all(RANDR)))
