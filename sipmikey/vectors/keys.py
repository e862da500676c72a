"""Every key of an exchange, recomputed from its messages and credentials, in the words of the vectors."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.keys.derivation import (
    ProtectionKeys,
    initial_message_keys,
    initiator_data_keys,
    response_message_keys,
    ticket_keys,
)
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.keys.transport import NO_CSB_ID, open_keys
from sipmikey.mikey.certificate import PKE
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message, one_payload
from sipmikey.mikey.rand import RAND, RANDR
from sipmikey.mikey.registry import KeyDataType, PrfFunc, RandRole, SrtpAuthAlg, SrtpEncrAlg
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TICKET, decode_ticket_data
from sipmikey.mikey.timestamp import T
from sipmikey.ticket.base_ticket import TicketContents
from sipmikey.ticket.bundle import CryptoSession
from sipmikey.ticket.resolve import ResolvedTicket
from sipmikey.vectors.exchange import STEPS, Rehearsal

Keys = dict[str, object]

KEY_NAMES = {
    KeyDataType.TGK: "TGK", KeyDataType.TGK_SALT: "TGK+SALT", KeyDataType.TEK: "TEK",
    KeyDataType.TEK_SALT: "TEK+SALT", KeyDataType.GTGK: "GTGK", KeyDataType.GTGK_SALT: "GTGK+SALT",
}  # fmt: skip
_CIPHERS = {
    SrtpEncrAlg.NULL: "NULL", SrtpEncrAlg.AES_CM: "AES-CM", SrtpEncrAlg.AES_F8: "AES-F8",
    SrtpEncrAlg.AES_GCM: "AES-GCM",
}  # fmt: skip


def observed(rehearsal: Rehearsal) -> Keys:
    """Return every key of an exchange, of its branches, reuses and updates."""
    found = _transfer(rehearsal)
    for name in ("branches", "reuse"):
        inner = rehearsal.branches() if name == "branches" else rehearsal.reuses()
        if inner:
            found[name] = [_transfer(item) for item in inner]
    return found


def _transfer(rehearsal: Rehearsal) -> Keys:
    found: Keys = {}
    steps: tuple[tuple[str, Callable[[Rehearsal], Keys]], ...] = (
        ("request_init", _request_init),
        ("request_resp", _request_resp),
        ("transfer_init", _transfer_init),
        ("resolve_init", _resolve_init),
        ("resolve_resp", _resolve_resp),
        ("transfer_resp", _transfer_resp),
    )
    assert tuple(name for name, _ in steps) == STEPS
    for name, describe in steps:
        if rehearsal.has(name) and name in _needed(rehearsal):
            found |= describe(rehearsal)
    if not rehearsal.own.get("branches"):
        # Each branch verifies the TRANSFER_INIT that all of them got.
        _ = rehearsal.transfer_init
        found["tgks"] = [_key(key) for key in rehearsal.grant.keys]
        found |= _responder(rehearsal.resolved)
        found["answerer"] = rehearsal.bundle.identity_r.decode("utf-8", "replace")
        found["crypto_sessions"] = [_session(item) for item in rehearsal.bundle.crypto_sessions]
    for number in (1, 2):
        found |= _update(rehearsal, number)
    return found


def _needed(rehearsal: Rehearsal) -> tuple[str, ...]:
    """Leave out what the outer rehearsal describes already."""
    return STEPS if rehearsal.outer is None else tuple(name for name in STEPS if name in rehearsal.own)


def _kdf(
    rehearsal: Rehearsal,
    name: str,
    inkey: Secret,
    *,
    response: bool,
    rand_i: bytes = b"",
    rand_r: bytes = b"",
) -> Keys:
    """Return the keys that protect a message: auth_key, and the others where it has a KEMAC."""
    message = Message.parse(rehearsal.raw(name))
    derive = response_message_keys if response else initial_message_keys
    header = message.header
    protection = derive(Prf(header.prf, inkey), header.csb_id, rand_i=rand_i, rand_r=rand_r)
    return _protection(message, protection)


def _protection(message: Message, protection: ProtectionKeys) -> Keys:
    suite = suite_of(message.header.prf)
    found: Keys = {}
    kemac = message.find(KEMAC)
    if kemac is not None:
        found["encr_key"] = protection.encr_key(kemac.encr_alg).reveal().hex()
        found["salt_key"] = protection.salt_key(kemac.encr_alg).reveal().hex()
    found["auth_key"] = protection.auth_key(suite.mac_alg).reveal().hex()
    return found


def _rand(rehearsal: Rehearsal, name: str, role: RandRole) -> bytes:
    found = Message.parse(rehearsal.raw(name)).find(RANDR, role)
    return b"" if found is None else found.rand


def _init(rehearsal: Rehearsal, role: str, name: str, rand: RandRole) -> Keys:
    if Message.parse(rehearsal.raw(name)).find(PKE) is not None:
        return {name: {"envelope_key": rehearsal.inkey(role, name).reveal().hex()}}
    rands = _as_argument(rand, _rand(rehearsal, name, rand))
    return {name: _kdf(rehearsal, name, rehearsal.inkey(role, name), response=False, **rands)}


def _as_argument(role: RandRole, rand: bytes) -> dict[str, bytes]:
    return {"rand_i": rand} if role is RandRole.INITIATOR else {"rand_r": rand}


def _request_init(rehearsal: Rehearsal) -> Keys:
    _ = rehearsal.request_init
    return _init(rehearsal, "initiator", "request_init", RandRole.INITIATOR)


def _request_resp(rehearsal: Rehearsal) -> Keys:
    _ = rehearsal.request_resp
    rand = _rand(rehearsal, "request_init", RandRole.INITIATOR)
    inkey = rehearsal.inkey("initiator", "request_init")
    return {"request_resp": _kdf(rehearsal, "request_resp", inkey, response=True, rand_i=rand)}


def _transfer_init(rehearsal: Rehearsal) -> Keys:
    found = _ticket(rehearsal)
    grant = rehearsal.grant
    if grant.mpk_r is not None:
        keys = initiator_data_keys(grant.policy.suite.prf, grant.mpk_r)
        found["initiator_data"] = {"auth_key": keys.auth_key(grant.policy.suite.mac_alg).reveal().hex()}
    rand = _rand(rehearsal, "transfer_init", RandRole.INITIATOR)
    found["transfer_init"] = _kdf(rehearsal, "transfer_init", grant.mpk_i, response=False, rand_i=rand)
    return found


def _ticket(rehearsal: Rehearsal) -> Keys:
    """Open the ticket as the KMS does; what it holds must be what the Initiator holds."""
    ticket = Message.parse(rehearsal.raw("transfer_init")).one(TICKET)
    _, payloads, _ = decode_ticket_data(ticket.ticket_data, rehearsal.env.limits)
    kemac = one_payload(payloads, KEMAC)
    suite = suite_of(ticket.prf)
    protection = ticket_keys(rehearsal.tpk.prf(suite.prf), one_payload(payloads, RAND).rand)
    keys = open_keys(
        kemac,
        protection,
        csb_id=NO_CSB_ID,
        timestamp=one_payload(payloads, T).timestamp,
        limits=rehearsal.env.limits,
        what="Ticket Data",
    )
    contents = rehearsal.contents
    grant = rehearsal.grant
    found: Keys = {
        "ticket": {
            "encr_key": protection.encr_key(kemac.encr_alg).reveal().hex(),
            "salt_key": protection.salt_key(kemac.encr_alg).reveal().hex(),
            "auth_key": protection.auth_key(suite.mac_alg).reveal().hex(),
            "mpk": keys[0].key.reveal().hex(),
        },
        "tgks": [_key(key) for key in grant.keys],
        "mpk_i": contents.mpk_i.reveal().hex(),
        "same_at_initiator": _same_contents(contents, grant.mpk_i, grant.mpk_r, grant.keys),
    }
    if grant.mpk_r is not None:
        found["mpk_r"] = contents.mpk_r.reveal().hex()
    return found


def _same_contents(
    contents: TicketContents, mpk_i: Secret, mpk_r: Secret | None, keys: tuple[KeyData, ...]
) -> bool:
    mpks = contents.mpk_i == mpk_i and (mpk_r is None or contents.mpk_r == mpk_r)
    return mpks and contents.keys == keys


def _resolve_init(rehearsal: Rehearsal) -> Keys:
    _ = rehearsal.resolve_init
    return _init(rehearsal, "responder", "resolve_init", RandRole.RESPONDER)


def _resolve_resp(rehearsal: Rehearsal) -> Keys:
    rand = _rand(rehearsal, "resolve_init", RandRole.RESPONDER)
    inkey = rehearsal.inkey("responder", "resolve_init")
    return {"resolve_resp": _kdf(rehearsal, "resolve_resp", inkey, response=True, rand_r=rand)}


def _responder(resolved: ResolvedTicket) -> Keys:
    found: Keys = {"resolved_tgks": [_key(key) for key in resolved.keys]}
    if resolved.mpk_r is not None:
        found["mpk_r_forked"] = resolved.mpk_r.reveal().hex()
    return found


def _transfer_resp(rehearsal: Rehearsal) -> Keys:
    bundle = rehearsal.transfer_resp
    message = Message.parse(rehearsal.raw("transfer_resp"))
    return {"transfer_resp": _protection(message, bundle.protection)}


def _update(rehearsal: Rehearsal, number: int) -> Keys:
    name = "update" if number == 1 else f"update_{number}"
    if f"{name}_init" not in rehearsal.own:
        return {}
    receiver = rehearsal.update_init(number)
    before = rehearsal.bundle if number == 1 else rehearsal.update_resp(number - 1)
    bundle = rehearsal.update_resp(number)
    found: Keys = {
        f"{name}_init": _protection(receiver.message, bundle.protection),
        name: {
            "keys": [_key(key) for key in bundle.keys if key not in before.keys],
            "crypto_sessions": [_session(item) for item in bundle.crypto_sessions],
        },
    }
    if rehearsal.has(f"{name}_resp"):
        message = Message.parse(rehearsal.raw(f"{name}_resp"))
        found[f"{name}_resp"] = _protection(message, bundle.protection)
    return found


def _key(key: KeyData) -> Keys:
    found: Keys = {"type": KEY_NAMES[key.key_type], "key": key.key.reveal().hex()}
    if key.spi is not None:
        found["spi"] = key.spi.hex()
    if key.salt is not None:
        found["salt"] = key.salt.reveal().hex()
    return found


def with_forked(found: Keys) -> Keys:
    """Put the forked TGKs of the Responder beside those of the Initiator, as the vectors have them."""
    tgks, resolved = found.get("tgks"), found.pop("resolved_tgks", None)
    if isinstance(tgks, list) and isinstance(resolved, list) and "mpk_r_forked" in found:
        for mine, theirs in zip(tgks, resolved, strict=False):
            if mine["type"].startswith("TGK"):
                mine["forked"] = theirs["key"]
    return found


def _session(session: CryptoSession) -> Keys:
    return {
        "cs_id": session.cs_id,
        "ssrc": session.ssrc,
        "roc": session.roc,
        "seq": session.seq,
        "spi": session.spi.hex(),
        "key_type": KEY_NAMES[session.key_type],
        "master_key": session.master_key.reveal().hex(),
        "master_salt": session.master_salt.reveal().hex(),
        "policy": _policy(session.policy),
    }


def _policy(policy: SrtpPolicy) -> Keys:
    authenticates = policy.srtp_authentication and policy.auth_alg is not SrtpAuthAlg.NULL
    found: Keys = {
        "encryption": _CIPHERS[policy.encr_alg],
        "encryption_key_bits": 8 * policy.session_encr_key_length,
        "authentication": "NULL" if policy.auth_alg is SrtpAuthAlg.NULL else "HMAC-SHA-1",
        "authentication_key_bits": 8 * policy.session_auth_key_length,
        "auth_tag_bits": 8 * policy.auth_tag_length if authenticates else 0,
        "salt_bits": 8 * policy.session_salt_length,
        "prf": "AES-CM",
        "key_derivation_rate": policy.key_derivation_rate,
        "srtp_encryption": policy.srtp_encryption,
        "srtcp_encryption": policy.srtcp_encryption,
        "fec_order": int(policy.fec_order),
        "srtp_authentication": policy.srtp_authentication,
        "prefix_length": policy.prefix_length,
    }
    if policy.is_aead:
        found["aead_tag_bits"] = 8 * policy.aead_tag_length
    return found


def prf_output(prf: str, inkey: bytes, label: bytes, bits: int) -> bytes | None:
    """Return the outkey of a PRF vector, None for a PRF that is not known."""
    func = {"MIKEY-1": PrfFunc.MIKEY_1, "HMAC-SHA-256": PrfFunc.HMAC_SHA_256}.get(prf)
    return None if func is None else Prf(func, Secret(inkey)).derive(label, bits).reveal()
