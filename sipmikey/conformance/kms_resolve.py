"""What RFC 6043 requires of a KMS in a Ticket Resolve, and that it refuses."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.conformance.forge import (
    Forger,
    flipped,
    named,
    replacing,
    shifted_time,
    with_header,
    without,
)
from sipmikey.conformance.kms_subject import FORKING, PLAIN, RESOLVE, KmsSubject
from sipmikey.conformance.requirement import NotTestableError, Requirements, check
from sipmikey.keys.derivation import response_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, DataType, EncrAlg, IdRole, IdType, KeyDataType, RandRole
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import ERR, V
from sipmikey.ticket.protection import verify
from sipmikey.ticket.resolve import Modifier, fork_keys

RESOLVE_REQUIREMENTS: Requirements[KmsSubject] = Requirements("kms")
_add = RESOLVE_REQUIREMENTS.add


@_add("resolve-answered", "4.2.3.5", "a RESOLVE_INIT that is in order gets RESOLVE_RESP")
def _answered(kms: KmsSubject) -> None:
    _, response, _ = kms.resolved()
    check(response.header.data_type is DataType.RESOLVE_RESP, "the answer is not RESOLVE_RESP")


@_add("resolve-resp-header", "4.2.3.5", "PRF, CSB ID, #CS and map of RESOLVE_RESP are RESOLVE_INIT's")
def _header(kms: KmsSubject) -> None:
    init, response = _exchange(kms)
    check(response.header.csb_id == init.header.csb_id, "the CSB ID is another")
    check(response.header.prf is init.header.prf, "PRF func is another")
    check(response.header.map_type is CsIdMapType.EMPTY, f"the map is {response.header.map_type.name}")


@_add("resolve-resp-v-last", "4.2.3.5", "V is the last payload of RESOLVE_RESP")
def _v_last(kms: KmsSubject) -> None:
    _, response = _exchange(kms)
    check(isinstance(response.payloads[-1], V), "it is not")


@_add("resolve-resp-mac", "5.5", "the MAC of RESOLVE_RESP covers it and RESOLVE_INIT, with a response's keys")
def _mac(kms: KmsSubject) -> None:
    init, response = _exchange(kms)
    prf = Prf(init.header.prf, kms.responder.key)
    rand = init.one(RANDR, RandRole.RESPONDER).rand
    keys = response_message_keys(prf, response.header.csb_id, rand_r=rand)
    verify(response, kms.suite, keys, init.raw)


@_add("resolve-resp-time", "4.2.3.5", "RESOLVE_RESP has one T, which is of now")
def _time(kms: KmsSubject) -> None:
    _, response = _exchange(kms)
    kms.env.check_timestamp(response.one(T).timestamp, "RESOLVE_RESP")


@_add("resolve-resp-encrypted", "4.2.3.5", "the keys are encrypted")
def _encrypted(kms: KmsSubject) -> None:
    _, response = _exchange(kms)
    check(response.one(KEMAC).encr_alg is not EncrAlg.NULL, "Encr alg is NULL")


@_add("resolve-resp-idrr", "4.2.3.5", "with forked keys, IDRr of RESOLVE_RESP is the identity that answers")
def _idr_r(kms: KmsSubject) -> None:
    _, response = _exchange(kms)
    found = response.all(IDR, IdRole.RESPONDER)
    check(len(found) == 1, f"{len(found)} IDRr payloads")
    check(found[0].data == kms.responder.uri.encode(), f"it names {found[0].data!r}")


@_add(
    "resolve-resp-randrkms", "4.2.3.5", "with forked keys, RESOLVE_RESP has a RANDRkms of 16 octets or more"
)
def _rand_kms(kms: KmsSubject) -> None:
    _, response = _exchange(kms)
    found = response.all(RANDR, RandRole.KMS)
    check(len(found) == 1, f"{len(found)} RANDRkms payloads")
    check(len(found[0].rand) >= 16, f"it has {len(found[0].rand)} octets")


@_add("resolve-resp-fresh-randrkms", "5.1.1", "RANDRkms is new in each RESOLVE_RESP")
def _fresh(kms: KmsSubject) -> None:
    rands = [_exchange(kms)[1].one(RANDR, RandRole.KMS).rand for _ in range(2)]
    check(rands[0] != rands[1], "it is the same twice")


@_add("resolve-resp-mpki", "4.2.3.5", "MPKi is the one that the Initiator got")
def _mpk_i(kms: KmsSubject) -> None:
    for flags in (FORKING, PLAIN):
        _, _, resolved = kms.resolved(flags)
        check(resolved.mpk_i == kms.grant(flags).mpk_i, f"it is another with I = {int(flags.key_forking)}")


@_add("resolve-resp-forked", "5.1.1", "MPKr' and the TGKs are forked with IDRr and RANDRkms")
def _forked(kms: KmsSubject) -> None:
    _, response, resolved = kms.resolved()
    grant = kms.grant()
    assert grant.mpk_r is not None
    modifier = Modifier(
        idr=response.one(IDR, IdRole.RESPONDER), rand_kms=response.one(RANDR, RandRole.KMS).rand
    )
    mpk_r, keys = fork_keys(grant.policy.suite, grant.mpk_r, grant.keys, modifier)
    check(resolved.mpk_r == mpk_r, "MPKr' is another")
    check([key.key for key in resolved.keys] == [key.key for key in keys], "a session key is another")


@_add("resolve-resp-not-forked", "5.1.1", "without forking the session keys are those of the ticket")
def _not_forked(kms: KmsSubject) -> None:
    _, _, resolved = kms.resolved(PLAIN)
    mine, theirs = kms.grant(PLAIN).keys, resolved.keys
    check([key.key for key in theirs] == [key.key for key in mine], "a session key is another")


@_add("resolve-resp-key-spis", "6.2.1", "the session keys keep type and SPI")
def _spis(kms: KmsSubject) -> None:
    init, response = _exchange(kms)
    forger = Forger(message=response, inkey=kms.responder.key, following=init.raw)
    keys = [key for key in forger.keys(init.all(RANDR)) if key.key_type is not KeyDataType.MPK]
    wanted = [(key.key_type, key.spi) for key in kms.grant().keys]
    check([(key.key_type, key.spi) for key in keys] == wanted, "type or SPI of a key is another")


def _exchange(kms: KmsSubject) -> tuple[Message, Message]:
    """Return RESOLVE_INIT and RESOLVE_RESP, whatever the keys in it."""
    resolve = kms.resolve()
    reply = kms.post(RESOLVE, resolve.message)
    check(reply.is_response, f"a RESOLVE_INIT that is in order got {reply.describe()}")
    return Message.parse(resolve.message), Message.parse(reply.body)


# What a KMS refuses of a RESOLVE_INIT


@_add("resolve-refuses-bad-mac", "4.2.3.3", "refused: a MAC that does not verify")
def _bad_mac(kms: KmsSubject) -> None:
    kms.refuses(RESOLVE, flipped(kms.resolve().message))


@_add("resolve-refuses-replay", "4.2.3.3", "refused: a RESOLVE_INIT that came before")
def _replay(kms: KmsSubject) -> None:
    message = kms.resolve().message
    reply = kms.post(RESOLVE, message)
    check(reply.is_response, f"the first got {reply.describe()}")
    kms.refuses(RESOLVE, message)


@_add("resolve-refuses-stale", "4.2.3.3", "refused: T of a day ago")
def _stale(kms: KmsSubject) -> None:
    kms.refuses(RESOLVE, kms.resolve_forger().variant(shifted_time(-86_400)))


@_add("resolve-refuses-no-randrr", "4.2.3.1", "refused: no RANDRr payload")
def _no_rand(kms: KmsSubject) -> None:
    forger = kms.resolve_forger()
    keys = forger.protection(forger.message)
    kms.refuses(RESOLVE, forger.variant(without(RANDR), protection=keys))


@_add("resolve-refuses-no-ticket", "4.2.3.1", "refused: no TICKET payload")
def _no_ticket(kms: KmsSubject) -> None:
    kms.refuses(RESOLVE, kms.resolve_forger().variant(without(TICKET)))


@_add("resolve-refuses-other-kms", "4.2.3.1", "refused: IDRkms names another KMS")
def _other_kms(kms: KmsSubject) -> None:
    other = "sip:kms@elsewhere.invalid"
    following = (kms.responder.uri + other).encode()
    kms.refuses(RESOLVE, kms.resolve_forger().variant(named(IdRole.KMS, other), following=following))


@_add("resolve-refuses-altered-ticket", "4.2.3.4", "refused: a ticket whose own MAC does not verify")
def _ticket_mac(kms: KmsSubject) -> None:
    ticket = kms.ticket()
    kms.refuses(RESOLVE, kms.resolve(ticket.with_data(ticket_data=flipped(ticket.ticket_data))).message)


@_add("resolve-refuses-altered-policy", "A.1", "refused: a ticket whose policy was changed")
def _ticket_policy(kms: KmsSubject) -> None:
    ticket = kms.ticket()
    idr = IDR(role=IdRole.RESPONDER, id_type=IdType.URI, data=b"sip:*@example.invalid")
    payloads = tuple(replacing(IDR, lambda _: idr, IdRole.RESPONDER)(list(ticket.payloads)))
    mine = IDR(role=IdRole.RESPONDER, id_type=IdType.URI, data=kms.responder.uri.encode())
    changed = replace(ticket, payloads=(*payloads, mine), policy_octets=b"")
    kms.refuses(RESOLVE, kms.resolve(changed).message)


@_add("resolve-refuses-initiator-data", "4.2.3.4", "refused: Initiator Data whose Vr does not verify")
def _initiator_data(kms: KmsSubject) -> None:
    ticket = kms.ticket()
    changed = ticket.with_data(initiator_data=flipped(ticket.initiator_data))
    kms.refuses(RESOLVE, kms.resolve(changed).message)


@_add("resolve-refuses-no-initiator-data", "4.2.3.4", "refused: no Initiator Data although keys are forked")
def _no_initiator_data(kms: KmsSubject) -> None:
    kms.refuses(RESOLVE, kms.resolve(kms.ticket().with_data(initiator_data=b"")).message)


@_add("resolve-refuses-others", "4.2.3.4", "refused: a subscriber who is none of the ticket's responders")
def _others(kms: KmsSubject) -> None:
    if kms.stranger is None:
        raise NotTestableError("no third subscriber is given (--stranger)")
    kms.refuses(RESOLVE, kms.resolve(party=kms.stranger).message)


@_add("resolve-refuses-crypto-sessions", "4.2.3.1", "refused: the GENERIC-ID map in RESOLVE_INIT")
def _map(kms: KmsSubject) -> None:
    forger = kms.resolve_forger()
    header = with_header(forger.message, map_type=CsIdMapType.GENERIC_ID)
    kms.refuses(RESOLVE, forger.variant(header=header))


@_add("resolve-refuses-trailing", "RFC 3830 6", "refused: an octet after the last payload")
def _trailing(kms: KmsSubject) -> None:
    kms.refuses(RESOLVE, kms.resolve().message + b"\0")


@_add("error-about-the-message", "5.4", "an Error message has the CSB ID of what it is about, #CS 0 and ERR")
def _error(kms: KmsSubject) -> None:
    forger = kms.resolve_forger()
    reply = kms.post(RESOLVE, forger.variant(shifted_time(-86_400)))
    message = reply.message
    if message is None:
        raise NotTestableError("the KMS sends no Error message")
    if reply.is_response:
        raise NotTestableError("the KMS refused nothing: see resolve-refuses-stale")
    check(message.header.data_type is DataType.ERROR, f"it sent {message.header.data_type.name}")
    check(message.header.csb_id == forger.message.header.csb_id, "the CSB ID is another")
    check(message.header.cs_count == 0, f"#CS is {message.header.cs_count}")
    check(message.all(ERR), "it has no ERR payload")
