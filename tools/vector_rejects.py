"""Reject vectors: a message of an exchange vector changed in one respect, with its MAC right again.

The MAC is computed again wherever the change is not about the MAC, so that what refuses the message is the
check that the vector names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import vector_party_rejects
from vector_forger import Forger, Vector
from vector_source import NOW_S

from sipmikey.conformance.forge import Edit, replacing
from sipmikey.mikey.header import GenericIdEntry, SrtpIdEntry
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, encode_key_data
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, EncrAlg, IdRole, RandRole, TicketType, TsRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TICKET, TP
from sipmikey.mikey.timestamp import TR, T, Timestamp

RECEIVERS = {
    "request_init": "kms", "request_resp": "initiator", "transfer_init": "responder", "resolve_init": "kms",
    "resolve_resp": "responder", "transfer_resp": "initiator",
}  # fmt: skip
MECHANICAL_BASES = (
    "full-128",
    "full-256-forking",
    "full-256-pk-forking",
    "preshared-256",
    "update-128-by-initiator",
)


def make(exchanges: Mapping[str, Vector]) -> list[Vector]:
    """Return the vectors; *exchanges* are the exchange vectors by name."""
    found: list[Vector] = []
    for base in MECHANICAL_BASES:
        found += _mechanical(exchanges[base])
    found += _meaningful(exchanges)
    return found


def _vector(base: Vector, message: str, name: str, reason: str, section: str, octets: bytes) -> Vector:
    receiver = RECEIVERS.get(message) or ("responder" if message.endswith("_init") else "initiator")
    return {
        "kind": "reject",
        "name": f"{base['name']}-{message}-{name}",
        "reason": reason,
        "base": base["name"],
        "message": message,
        "section": section,
        "refused_by": receiver,
        "hex": octets.hex(),
    }


def _mechanical(base: Vector) -> Iterator[Vector]:
    messages = base["messages"]
    assert isinstance(messages, dict)
    for message, text in messages.items():
        octets = bytes.fromhex(text)
        flipped = octets[:-1] + bytes((octets[-1] ^ 1,))
        yield _vector(
            base, message, "bad-mac", "last bit of the MAC or signature changed", "6043 5.5", flipped
        )
        yield _vector(base, message, "truncated", "last octet missing", "3830 6", octets[:-1])
        yield _vector(base, message, "trailing", "an octet after the last payload", "3830 6", octets + b"\0")


def _meaningful(exchanges: Mapping[str, Vector]) -> Iterator[Vector]:
    """Yield vectors each of which breaks one rule."""
    for base, message, name, reason, section, forge in CASES:
        octets = forge(Forger(exchanges[base]))
        yield _vector(exchanges[base], message, name, reason, section, octets)
    for base, message, name, reason, section, strength, forge in vector_party_rejects.CASES:
        octets = forge(Forger(exchanges[base]))
        yield _vector(exchanges[base], message, name, reason, section, octets) | {"strength": strength}


def _timestamp(seconds: int) -> Edit:
    return replacing(T, lambda _: T(timestamp=Timestamp.ntp_utc((NOW_S + seconds) * 1_000_000_000)))


def _null_kemac(forger: Forger) -> bytes:
    keys = (forger.rehearsal.grant.keys[0],)
    kemac = KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data(keys))
    return forger.edited("request_resp", replacing(KEMAC, lambda _: kemac))


def _other_branch(forger: Forger) -> bytes:
    """Return the answer of one branch in the name of another, its MAC left as it is."""
    first, second = forger.rehearsal.branches()[:2]
    message = Message.parse(first.raw("transfer_resp"))
    idr = Message.parse(second.raw("transfer_resp")).one(IDR, IdRole.RESPONDER)
    return Message.build(
        message.header, replacing(IDR, lambda _: idr, IdRole.RESPONDER)(list(message.payloads))
    ).raw


def _without_identities(name: str) -> Callable[[Forger], bytes]:
    return lambda forger: forger.edited(name, list, following=b"")


def _swapped_identities(forger: Forger) -> bytes:
    following = (forger.rehearsal.kms + forger.rehearsal.initiator).encode()
    return forger.edited("request_init", list, following=following)


def _randr(name: str, role: RandRole, octets: bytes) -> Callable[[Forger], bytes]:
    edit = replacing(RANDR, lambda _: RANDR(role=role, rand=octets), role)
    return lambda forger: forger.edited(name, edit)


def _with_map(forger: Forger) -> bytes:
    header = replace(
        forger.message("request_init").header,
        map_type=CsIdMapType.GENERIC_ID,
        crypto_sessions=(GenericIdEntry(cs_id=1),),
    )
    return forger.edited("request_init", list, header=header)


def _srtp_id(forger: Forger) -> bytes:
    header = replace(
        forger.message("transfer_init").header,
        map_type=CsIdMapType.SRTP_ID,
        crypto_sessions=(SrtpIdEntry(policy_no=0, ssrc=1, roc=0),),
    )
    return forger.edited("transfer_init", list, header=header)


def _other_ticket(forger: Forger) -> TICKET:
    ticket = forger.message("transfer_init").one(TICKET)
    return replace(ticket, ticket_data=ticket.ticket_data[:-1] + b"x")


def _expired(payloads: list[Payload]) -> list[Payload]:
    end = TR(role=TsRole.END, timestamp=Timestamp.ntp_utc_32(NOW_S - 60))
    return replacing(TR, lambda _: end, TsRole.END)(payloads)  # type: ignore[return-value]


def _not_for_me(payloads: list[Payload]) -> Sequence[Payload]:
    idr = IDR(role=IdRole.RESPONDER, id_type=1, data=b"sip:mallory@example.com")
    return replacing(IDR, lambda _: idr, IdRole.RESPONDER)(payloads)


CASES: tuple[tuple[str, str, str, str, str, Callable[[Forger], bytes]], ...] = (
    ("full-256", "request_init", "no-t", "no T payload", "6043 4.2.1.1",
     lambda f: f.edited("request_init", replacing(T, lambda _: None))),
    ("full-256", "request_init", "no-tp", "no TP payload", "6043 4.2.1.1",
     lambda f: f.edited("request_init", replacing(TP, lambda _: None))),
    ("full-256", "request_init", "stale", "T is two hours old", "3830 5.4",
     lambda f: f.edited("request_init", _timestamp(-7200))),
    ("full-256", "request_init", "early", "T is two hours ahead", "3830 5.4",
     lambda f: f.edited("request_init", _timestamp(7200))),
    ("full-256", "request_init", "short-randr-i", "RANDRi is shorter than the key", "6043 12.1",
     _randr("request_init", RandRole.INITIATOR, b"r" * 16)),
    ("full-256", "request_init", "crypto-session", "#CS is not 0", "6043 4.2.1.1", _with_map),
    ("full-256", "request_init", "mac-without-identities", "the MAC does not cover the identities",
     "6043 5.5", _without_identities("request_init")),
    ("full-256", "request_init", "mac-identities-swapped", "the MAC covers Identity_kms || Identity_i",
     "6043 5.5", _swapped_identities),
    ("full-256", "request_init", "two-t", "two T payloads", "6043 4.2.1.1",
     lambda f: f.edited("request_init", lambda p: [p[0], *p])),
    ("full-256", "request_resp", "no-ticket", "no TICKET payload", "6043 4.2.1.5",
     lambda f: f.edited("request_resp", replacing(TICKET, lambda _: None))),
    ("full-256", "request_resp", "keys-in-the-clear", "KEMAC with NULL encryption", "3830 4.2.3",
     _null_kemac),
    ("full-256", "request_resp", "no-mpk", "KEMAC without MPKi", "6043 4.2.1.5",
     lambda f: f.rekeyed("request_resp", lambda keys: keys[1:])),
    ("full-256", "request_resp", "mpk-last", "MPKi after the session keys", "6043 4.2.1.5",
     lambda f: f.rekeyed("request_resp", lambda keys: (*keys[1:], keys[0]))),
    ("full-256", "request_resp", "two-mpks-without-forking", "two MPKs although I is 0", "6043 4.2.1.5",
     lambda f: f.rekeyed("request_resp", lambda keys: (keys[0], *keys))),
    ("full-256", "request_resp", "key-without-spi", "a TGK without SPI", "6043 6.2.1",
     lambda f: f.rekeyed("request_resp", lambda keys: (keys[0], replace(keys[1], spi=None)))),
    ("full-256", "request_resp", "spi-twice", "two keys of one SPI", "6043 6.2.1",
     lambda f: f.rekeyed("request_resp", lambda keys: (*keys, keys[1]))),
    ("full-128", "request_resp", "long-tgk", "a TGK of 256 bits with 128-bit algorithms", "6043 12.1",
     lambda f: f.rekeyed("request_resp", lambda k: (k[0], replace(k[1], key=Secret(b"k" * 32))))),
    ("full-256", "request_resp", "short-tgk", "a TGK of 64 bits", "6043 12.1",
     lambda f: f.rekeyed("request_resp", lambda k: (k[0], replace(k[1], key=Secret(b"k" * 8))))),
    ("full-256-forking", "request_resp", "one-mpk-with-forking", "one MPK although I is 1", "6043 4.2.1.5",
     lambda f: f.rekeyed("request_resp", lambda keys: (keys[0], *keys[2:]))),
    ("full-256", "transfer_init", "mac-without-identities", "the MAC does not cover the identities",
     "6043 5.5", _without_identities("transfer_init")),
    ("full-256", "transfer_init", "srtp-id-map", "SRTP-ID map", "6043 6.1", _srtp_id),
    ("full-256", "transfer_init", "unknown-policy", "a crypto session names a policy not given", "6043 6.1.1",
     lambda f: f.with_entries("transfer_init", lambda entry: replace(entry, policies=(9,)))),
    ("full-256", "transfer_init", "cs-id-twice", "two crypto sessions of one CS ID", "6043 6.1.1",
     lambda f: f.with_entries("transfer_init", lambda entry: replace(entry, cs_id=1))),
    ("full-256", "transfer_init", "kemac-although-l-is-0", "keys of the Initiator although L is 0",
     "6043 4.2.2.1", lambda f: f.with_kemac("transfer_init")),
    ("full-256", "transfer_init", "no-randr-i", "no RANDRi payload", "6043 4.2.2.1",
     lambda f: f.edited("transfer_init", replacing(RANDR, lambda _: None))),
    ("preshared-256", "transfer_init", "expired", "the ticket has expired", "6043 6.10",
     lambda f: f.reticketed(_expired)),
    ("preshared-256", "transfer_init", "for-another", "the ticket is for another Responder", "6043 6.10",
     lambda f: f.reticketed(_not_for_me)),
    ("preshared-256", "transfer_init", "3gpp-type", "a Ticket Type that is not supported", "6043 6.10",
     lambda f: f.reticketed(ticket_type=TicketType.TGPP_BASE)),
    ("preshared-256", "transfer_init", "version-2", "a ticket version that is not supported", "6043 6.10",
     lambda f: f.reticketed(version=2)),
    ("kerberos-256", "transfer_init", "expired", "the ticket has expired", "6043 6.10",
     lambda f: f.reticketed(_expired)),
    ("full-256", "resolve_init", "stale", "T is two hours old", "3830 5.4",
     lambda f: f.edited("resolve_init", _timestamp(-7200))),
    ("full-256", "resolve_init", "no-ticket", "no TICKET payload", "6043 4.2.3.1",
     lambda f: f.edited("resolve_init", replacing(TICKET, lambda _: None))),
    ("full-256", "resolve_init", "mac-without-identities", "the MAC does not cover the identities",
     "6043 5.5", _without_identities("resolve_init")),
    ("full-256-forking", "resolve_resp", "no-idr-r", "no IDRr although I is 1", "6043 4.2.3.5",
     lambda f: f.edited("resolve_resp", replacing(IDR, lambda _: None, IdRole.RESPONDER))),
    ("full-256-forking", "resolve_resp", "no-randr-kms", "no RANDRkms although I is 1", "6043 4.2.3.5",
     lambda f: f.edited("resolve_resp", replacing(RANDR, lambda _: None, RandRole.KMS))),
    ("full-256-forking", "transfer_resp", "short-randr-kms", "RANDRkms is shorter than MPKr", "6043 12.1",
     _randr("transfer_resp", RandRole.KMS, b"r" * 16)),
    ("branches-256-three", "transfer_resp", "of-another-branch", "the answer of one branch as another's",
     "6043 5.1.1", _other_branch),
    ("full-256", "transfer_resp", "no-randr-r", "no RANDRr although G is 1", "6043 4.2.2.3",
     lambda f: f.edited("transfer_resp", replacing(RANDR, lambda _: None, RandRole.RESPONDER))),
    ("full-256", "transfer_resp", "no-spi", "no SPI in a response", "6043 6.1.1",
     lambda f: f.with_entries("transfer_resp", lambda entry: replace(entry, spi=b""))),
    ("full-256", "transfer_resp", "unknown-spi", "an SPI that names no key of the bundle", "6043 6.1.1",
     lambda f: f.with_entries("transfer_resp", lambda entry: replace(entry, spi=b"none"))),
    ("full-256", "transfer_resp", "no-session-data", "no Session Data in a response", "6043 6.1.1",
     lambda f: f.with_entries("transfer_resp", lambda entry: replace(entry, session_data=b""))),
    ("full-256", "transfer_resp", "two-policies", "two policies in a response", "6043 6.1.1",
     lambda f: f.with_entries("transfer_resp", lambda entry: replace(entry, policies=(0, 0)))),
    ("full-256", "transfer_resp", "kemac-although-m-is-0", "keys of the Responder although M is 0",
     "6043 4.2.2.3", lambda f: f.with_kemac("transfer_resp")),
    ("full-256", "transfer_resp", "bad-policy", "an SP payload that SRTP does not define", "3830 6.10.1",
     lambda f: f.edited("transfer_resp", lambda p: [
         *p[:-1], replace(SrtpPolicy(), session_auth_key_length=10).payload(0), p[-1]])),
    ("update-128-by-initiator", "update_init", "new-rand", "a new RANDRi in an update", "6043 5.2",
     lambda f: f.edited("update_init", lambda p: [
         p[0], RANDR(role=RandRole.INITIATOR, rand=b"n" * 16), *p[1:]])),
    ("update-128-by-initiator", "update_init", "new-randr-kms", "a RANDRkms in an update", "6043 5.2",
     lambda f: f.edited("update_init", lambda p: [p[0], RANDR(role=RandRole.KMS, rand=b"n" * 16), *p[1:]])),
    ("update-128-by-initiator", "update_init", "new-ticket", "another TICKET in an update", "6043 5.2",
     lambda f: f.edited("update_init", lambda p: [p[0], _other_ticket(f), *p[1:]])),
    ("update-128-by-initiator", "update_init", "old-timestamp", "T not later than before", "6043 5.2",
     lambda f: f.edited("update_init", _timestamp(-600))),
    ("update-128-by-initiator", "update_init", "other-party", "IDRr names a stranger", "6043 5.2",
     lambda f: f.edited("update_init", _not_for_me,
                        following=b"sip:alice@example.comsip:mallory@example.com")),
    ("update-128-by-initiator", "update_resp", "kemac-although-m-is-0", "keys although M is 0", "6043 5.2",
     lambda f: f.with_kemac("update_resp")),
)  # fmt: skip
"""(base, message, name, reason, section, what makes the message)."""
