"""Reject vectors with right octets, MACs and keys: who is named, what is granted, which policy is offered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from vector_forger import Forger
from vector_source import NOW_S

from sipmikey.conformance.forge import Edit, replacing
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.registry import IdRole, IdType, SrtpParam, TsRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, PolicyParam, SrtpPolicy
from sipmikey.mikey.ticket import TICKET, TP, TicketFlag
from sipmikey.mikey.timestamp import TR, Timestamp

OTHER_KMS, OTHER_USER = "sip:kms@elsewhere.example", "sip:mallory@example.com"
_DAY_S = 86_400

Case = tuple[str, str, str, str, str, str, Callable[[Forger], bytes]]
"""Base, message, name, reason, section, strength, and what makes the octets."""


def _named(role: IdRole, uri: str) -> Edit:
    idr = IDR(role=role, id_type=IdType.URI, data=uri.encode())
    return replacing(IDR, lambda _: idr, role)


def _until(seconds: int) -> Edit:
    end = TR(role=TsRole.END, timestamp=Timestamp.ntp_utc_32(NOW_S + seconds))
    return replacing(TR, lambda _: end, TsRole.END)


def _in_policy(cls: type, edit: Edit, *, k: bool = False) -> Edit:
    """Return an edit of the Ticket Policy in TP or TICKET; with *k* the KMS says that it changed it."""

    def change(payload: Any) -> Payload:
        flags = payload.flags.with_flag(TicketFlag.K, True) if k else payload.flags
        changed = tuple(edit(list(payload.payloads)))
        return replace(payload, payloads=changed, flags=flags, policy_octets=b"")

    return replacing(cls, change)


def _request(edit: Edit) -> Callable[[Forger], bytes]:
    return lambda f: f.edited("request_init", edit)


def _to_other_kms(name: str) -> Callable[[Forger], bytes]:
    """Return what names another KMS in IDRkms, which the MAC then covers."""

    def forge(forger: Forger) -> bytes:
        own = forger.rehearsal.initiator if name == "request_init" else forger.rehearsal.answerer
        return forger.edited(name, _named(IdRole.KMS, OTHER_KMS), following=(own + OTHER_KMS).encode())

    return forge


def _granted(edit: Edit, *, k: bool = True) -> Callable[[Forger], bytes]:
    return lambda f: f.edited("request_resp", _in_policy(TICKET, edit, k=k))


def _reusable(forger: Forger) -> bytes:
    def change(ticket: TICKET) -> TICKET:
        flags = ticket.flags.with_flag(TicketFlag.J, not ticket.flags.reusable)
        return replace(ticket, flags=flags, policy_octets=b"")

    return forger.edited("request_resp", replacing(TICKET, change))


def _resolving(edit: Edit) -> Callable[[Forger], bytes]:
    """Return RESOLVE_INIT with a ticket of another policy, its own MAC right."""

    def forge(forger: Forger) -> bytes:
        ticket = forger.ticket(edit)
        return forger.edited("resolve_init", replacing(TICKET, lambda _: ticket))

    return forge


def _with_param(kind: SrtpParam, value: int) -> Edit:
    """Return an edit that gives one parameter of every security policy another value."""

    def change(sp: SP) -> SP:
        kept = tuple(item for item in sp.params if item.param_type != kind)
        return replace(sp, params=(*kept, PolicyParam(param_type=kind, value=bytes((value,)))))

    return replacing(SP, change)


def _own_policy(forger: Forger) -> bytes:
    """Return TRANSFER_RESP in which the Responder puts a policy of its own in the place of the offered."""
    offered = forger.message("transfer_init").all(SP)
    weak = _with_param(SrtpParam.AUTH_TAG_LENGTH, 4)(list(offered))

    def edit(payloads: list[Payload]) -> Sequence[Payload]:
        return [*payloads[:-1], *weak, payloads[-1]]

    return forger.edited("transfer_resp", edit)


def _unknown_cipher_in_update(forger: Forger) -> bytes:
    message = forger.message("update_init")
    (sp,) = _with_param(SrtpParam.ENCR_ALG, 7)([SrtpPolicy.aes_cm().payload(7)])
    entries = tuple(replace(entry, policies=(7,)) for entry in message.header.generic_ids())
    payloads = (*message.payloads[:-1], sp, message.payloads[-1])
    return forger.sealed("update_init", payloads, header=replace(message.header, crypto_sessions=entries))


def _other_mpk(forger: Forger) -> bytes:
    def change(keys: Sequence[Any]) -> Sequence[Any]:
        return (replace(keys[0], key=Secret(b"m" * len(keys[0].key))), *keys[1:])

    return forger.rekeyed("resolve_resp", change)


def _entries(name: str, **changes: Any) -> Callable[[Forger], bytes]:
    return lambda f: f.with_entries(name, lambda entry: replace(entry, **changes))


CASES: tuple[Case, ...] = (
    ("full-256", "request_init", "other-kms", "IDRkms is another KMS", "6043 4.2.1.1", "must",
     _to_other_kms("request_init")),
    ("full-256", "request_init", "tp-other-kms", "a ticket of another KMS is asked for", "6043 6.10", "must",
     _request(_in_policy(TP, _named(IdRole.KMS, OTHER_KMS)))),
    ("full-256", "request_init", "tp-other-initiator", "a ticket of another Initiator is asked for",
     "6043 6.10", "must", _request(_in_policy(TP, _named(IdRole.INITIATOR, OTHER_USER)))),
    ("full-256", "request_init", "tp-expired", "a ticket is asked for that has ended", "6043 6.10",
     "defensive", _request(_in_policy(TP, _until(-60)))),
    ("full-256", "request_resp", "other-kms", "IDRkms is another KMS than the one asked", "6043 4.2.1.5",
     "defensive", lambda f: f.edited("request_resp", _named(IdRole.KMS, OTHER_KMS))),
    ("full-256", "request_resp", "ticket-other-kms", "the ticket is of another KMS", "6043 4.2.1.6",
     "defensive", _granted(_named(IdRole.KMS, OTHER_KMS))),
    ("full-256", "request_resp", "ticket-expired", "the ticket granted has ended", "6043 4.2.1.6", "must",
     _granted(_until(-60))),
    ("full-256", "request_resp", "ticket-other-initiator", "the ticket is of another Initiator",
     "6043 4.2.1.6", "must", _granted(_named(IdRole.INITIATOR, OTHER_USER))),
    ("full-256", "request_resp", "ticket-other-responder", "somebody else may resolve the ticket",
     "6043 4.2.1.6", "must", _granted(_named(IdRole.RESPONDER, OTHER_USER))),
    ("full-256", "request_resp", "ticket-longer", "the ticket lives longer than asked", "6043 4.2.1.6",
     "defensive", _granted(_until(400 * _DAY_S))),
    ("full-256", "request_resp", "changed-although-k-is-0", "J changed although K is 0", "6043 6.10",
     "defensive", _reusable),
    ("full-256", "transfer_init", "ticket-not-for-responder", "the ticket's IDRr is somebody else",
     "6043 6.10", "must", lambda f: f.reticketed(_named(IdRole.RESPONDER, OTHER_USER))),
    ("full-256", "transfer_init", "ticket-other-initiator", "IDRi is not the ticket's", "6043 12.4",
     "defensive", lambda f: f.reticketed(_named(IdRole.INITIATOR, OTHER_USER))),
    ("full-256", "transfer_init", "no-known-cipher", "every policy offered has an unknown cipher",
     "6043 4.2.2.2", "must", lambda f: f.edited("transfer_init", _with_param(SrtpParam.ENCR_ALG, 7))),
    ("full-256", "transfer_init", "no-such-key-length", "AES with a key of 17 bytes", "6043 4.2.2.2", "must",
     lambda f: f.edited("transfer_init", _with_param(SrtpParam.SESSION_ENCR_KEY_LENGTH, 17))),
    *((base, "transfer_init", name, reason, "6043 6.1.1", "must", _entries("transfer_init", **changes))
      for base in ("full-256-without-response", "preshared-256-without-response")
      for name, reason, changes in (
          ("no-spi", "a one-way transfer without SPI", {"spi": b""}),
          ("unknown-spi", "a one-way transfer with an SPI of no key", {"spi": b"none"}),
          ("no-session-data", "a one-way transfer without Session Data", {"session_data": b""}),
          ("two-policies", "a one-way transfer that leaves a choice of policies", {"policies": (0, 0)}),
          ("no-policy", "a one-way transfer without policy", {"policies": ()}),
      )),
    ("full-256", "transfer_init", "other-protocol", "a crypto session is not SRTP", "6043 4.2.2.2", "must",
     _entries("transfer_init", prot_type=1)),
    ("full-256", "resolve_init", "other-kms", "IDRkms is another KMS", "6043 4.2.3.1", "must",
     _to_other_kms("resolve_init")),
    ("full-256", "resolve_init", "ticket-other-kms", "the ticket is of another KMS", "6043 4.2.3.4",
     "defensive", _resolving(_named(IdRole.KMS, OTHER_KMS))),
    ("full-256", "resolve_init", "ticket-not-for-responder", "the ticket's IDRr is somebody else",
     "6043 4.2.3.4", "must", _resolving(_named(IdRole.RESPONDER, OTHER_USER))),
    ("full-256", "resolve_init", "ticket-expired", "the ticket has expired", "6043 6.10", "must",
     _resolving(_until(-60))),
    ("full-256", "resolve_resp", "other-kms", "IDRkms is another KMS than the one asked", "6043 4.2.3.5",
     "defensive", lambda f: f.edited("resolve_resp", _named(IdRole.KMS, OTHER_KMS))),
    ("full-256", "resolve_resp", "other-mpk", "TRANSFER_INIT does not verify with the MPKi in it",
     "6043 4.2.2.2", "must", _other_mpk),
    ("full-256-forking", "resolve_resp", "other-mpk", "TRANSFER_INIT does not verify with the MPKi in it",
     "6043 4.2.2.2", "must", _other_mpk),
    ("full-256", "transfer_resp", "policy-not-offered", "a policy that was not offered", "6043 4.2.2.4",
     "must", _own_policy),
    ("update-128-by-initiator", "update_init", "no-known-cipher", "every policy has an unknown cipher",
     "6043 5.2", "must", _unknown_cipher_in_update),
)  # fmt: skip
