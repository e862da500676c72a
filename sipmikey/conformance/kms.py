"""What RFC 6043 requires of a KMS in a Ticket Request, and that it refuses."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.conformance.forge import before_last, flipped, named, shifted_time, with_header, without
from sipmikey.conformance.kms_subject import FORKING, PLAIN, REQUEST, KmsSubject
from sipmikey.conformance.requirement import Requirements, check
from sipmikey.keys.derivation import response_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.mikey.header import GenericIdEntry, SrtpIdEntry
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import (
    CsIdMapType,
    DataType,
    EncrAlg,
    IdRole,
    KeyDataType,
    MacAlg,
    RandRole,
)
from sipmikey.mikey.ticket import TICKET, TP
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.protection import verify
from sipmikey.ticket.request import check_acceptable, policy_changes

KMS_REQUIREMENTS: Requirements[KmsSubject] = Requirements("kms")
_add = KMS_REQUIREMENTS.add

_FLAGS_AT, _F = 5, 0x40
"""Second octet of the flags in a Ticket Policy, and the F flag in it (RFC 6043 section 6.10)."""


@_add("request-answered", "4.2.1.5", "a REQUEST_INIT that is in order gets REQUEST_RESP")
def _answered(kms: KmsSubject) -> None:
    check(kms.ask().response.header.data_type is DataType.REQUEST_RESP, "the answer is not REQUEST_RESP")


@_add("request-resp-csb-id", "4.2.1.5", "CSB ID of REQUEST_RESP is that of REQUEST_INIT")
def _csb_id(kms: KmsSubject) -> None:
    asked = kms.ask()
    check(asked.response.header.csb_id == asked.init.header.csb_id, "it is another")


@_add("request-resp-prf", "4.2.1.5", "PRF func of REQUEST_RESP is that of REQUEST_INIT")
def _prf(kms: KmsSubject) -> None:
    asked = kms.ask()
    check(asked.response.header.prf is asked.init.header.prf, f"it is {asked.response.header.prf.name}")


@_add("request-resp-empty-map", "4.2.1.5", "#CS of REQUEST_RESP is 0 and its map the Empty map")
def _empty_map(kms: KmsSubject) -> None:
    header = kms.ask().response.header
    check(header.map_type is CsIdMapType.EMPTY, f"the map is {header.map_type.name}")
    check(header.cs_count == 0, f"#CS is {header.cs_count}")


@_add("request-resp-v-flag", "6.1", "the V flag of REQUEST_RESP is 0", level="should")
def _v_flag(kms: KmsSubject) -> None:
    check(not kms.ask().response.header.v, "it is 1")


@_add("request-resp-time", "4.2.1.5", "REQUEST_RESP has one T, which is of now")
def _time(kms: KmsSubject) -> None:
    asked = kms.ask()
    kms.env.check_timestamp(asked.response.one(T).timestamp, "REQUEST_RESP")
    same = asked.response.one(T).timestamp == asked.init.one(T).timestamp
    check(not same, "T repeats that of REQUEST_INIT")


@_add("request-resp-idrkms", "4.2.1.5", "REQUEST_RESP names the KMS in IDRkms", level="should")
def _idr_kms(kms: KmsSubject) -> None:
    found = kms.ask().response.all(IDR, IdRole.KMS)
    check(found, "it has no IDRkms")
    check(same_identity(found[0].data.decode("utf-8", "replace"), kms.kms), f"it names {found[0].data!r}")


@_add("request-resp-v-last", "4.2.1.5", "V is the last payload of REQUEST_RESP")
def _v_last(kms: KmsSubject) -> None:
    check(isinstance(kms.ask().response.payloads[-1], V), "it is not")


@_add("request-resp-mac", "5.5", "the MAC of REQUEST_RESP covers it and REQUEST_INIT, with a response's keys")
def _mac(kms: KmsSubject) -> None:
    asked = kms.ask()
    prf = Prf(asked.init.header.prf, kms.initiator.key)
    rand = asked.init.one(RANDR, RandRole.INITIATOR).rand
    keys = response_message_keys(prf, asked.response.header.csb_id, rand_i=rand)
    verify(asked.response, kms.suite, keys, asked.init.raw)


@_add("request-resp-encrypted", "4.2.1.5", "the keys are encrypted, and the KEMAC has the NULL MAC")
def _encrypted(kms: KmsSubject) -> None:
    kemac = kms.ask().response.one(KEMAC)
    check(kemac.encr_alg is not EncrAlg.NULL, "Encr alg is NULL: the keys are there for all to read")
    check(kemac.mac_alg is MacAlg.NULL, f"Mac alg is {kemac.mac_alg.name}")


@_add("request-resp-opens", "4.2.1.5", "the KEMAC opens with the response's keys and T")
def _opens(kms: KmsSubject) -> None:
    asked = kms.ask()
    check(asked.forger.keys(asked.rands), "it holds no keys")


@_add("request-resp-mpki-first", "4.2.1.5", "MPKi stands first in the KEMAC")
def _mpki_first(kms: KmsSubject) -> None:
    asked = kms.ask(PLAIN)
    keys = asked.forger.keys(asked.rands)
    check(keys and keys[0].key_type is KeyDataType.MPK, "the first key is not an MPK")


@_add("request-resp-mpkr", "4.2.1.5", "MPKr follows MPKi exactly where keys are forked")
def _mpkr(kms: KmsSubject) -> None:
    for flags, count in ((FORKING, 2), (PLAIN, 1)):
        asked = kms.ask(flags)
        kinds = [key.key_type for key in asked.forger.keys(asked.rands)]
        found = kinds.count(KeyDataType.MPK)
        right = found == count and kinds[:count] == [KeyDataType.MPK] * count
        check(right, f"{found} MPKs with I = {int(flags.key_forking)}")


@_add("request-resp-key-spis", "6.2.1", "every session key has an SPI of its own")
def _spis(kms: KmsSubject) -> None:
    asked = kms.ask()
    spis = [key.spi for key in asked.forger.keys(asked.rands) if key.key_type.is_session_key]
    check(all(spis), "a session key has no SPI")
    check(len(set(spis)) == len(spis), "two session keys have one SPI")


@_add("request-resp-key-lengths", "12.1", "every key has 128 bits or more")
def _lengths(kms: KmsSubject) -> None:
    asked = kms.ask()
    shortest = min(len(key.key) for key in asked.forger.keys(asked.rands))
    check(shortest >= 16, f"a key has {8 * shortest} bits")


@_add("request-resp-keys-as-asked", "6.10", "the session keys are those that the TP asked for, or K is 1")
def _as_asked(kms: KmsSubject) -> None:
    asked = kms.ask()
    keys = [key for key in asked.forger.keys(asked.rands) if key.key_type.is_session_key]
    found = [(key.key_type, len(key.key)) for key in keys]
    changed = asked.response.one(TICKET).flags.changed
    wanted = [(key.key_type, key.length) for key in kms.policy().requested_keys]
    check(found == wanted or changed, f"{len(found)} keys, not those asked for, and K is 0")


@_add("request-resp-no-initiator-data", "6.10", "the TICKET of REQUEST_RESP has no Initiator Data")
def _no_initiator_data(kms: KmsSubject) -> None:
    check(not kms.ask().response.one(TICKET).initiator_data, "it has")


@_add("request-resp-policy", "6.10", "the policy granted is the one asked for, or K is 1")
def _policy(kms: KmsSubject) -> None:
    asked = kms.ask()
    granted = TicketPolicy.of(asked.response.one(TICKET))
    desired = TicketPolicy.of(asked.init.one(TP))
    changes = policy_changes(desired, granted)
    check(not changes or granted.flags.changed, f"{', '.join(changes)} changed although K is 0")


@_add("request-resp-policy-no-wider", "4.2.1.5", "no other responders, Initiator or longer life are granted")
def _no_wider(kms: KmsSubject) -> None:
    asked = kms.ask()
    granted = TicketPolicy.of(asked.response.one(TICKET))
    check_acceptable(replace(TicketPolicy.of(asked.init.one(TP)), flags=granted.flags), granted)


@_add("request-resp-valid-now", "6.10", "the ticket granted is valid now")
def _valid(kms: KmsSubject) -> None:
    TicketPolicy.of(kms.ask().response.one(TICKET)).check_validity(kms.env.now_ns())


@_add("request-resp-fresh-keys", "4.2.1.5", "two tickets have other keys")
def _fresh(kms: KmsSubject) -> None:
    first = kms.ask()
    before = {key.key for key in first.forger.keys(first.rands)}
    second = kms.ask(fresh=True)
    after = {key.key for key in second.forger.keys(second.rands)}
    check(not before & after, "a key stands in both")


# What a KMS refuses of a REQUEST_INIT


@_add("request-refuses-bad-mac", "4.2.1.3", "refused: a MAC that does not verify")
def _bad_mac(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, flipped(kms.request().message))


@_add("request-refuses-replay", "4.2.1.3", "refused: a REQUEST_INIT that came before")
def _replay(kms: KmsSubject) -> None:
    message = kms.request().message
    reply = kms.post(REQUEST, message)
    check(reply.is_response, f"the first got {reply.describe()}")
    kms.refuses(REQUEST, message)


@_add("request-refuses-stale", "4.2.1.3", "refused: T of a day ago")
def _stale(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request_forger().variant(shifted_time(-86_400)))


@_add("request-refuses-future", "4.2.1.3", "refused: T of tomorrow")
def _future(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request_forger().variant(shifted_time(86_400)))


@_add("request-refuses-no-t", "4.2.1.1", "refused: no T payload")
def _no_t(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request_forger().variant(without(T)))


@_add("request-refuses-no-randri", "4.2.1.1", "refused: no RANDRi payload")
def _no_rand(kms: KmsSubject) -> None:
    forger = kms.request_forger()
    keys = forger.protection(forger.message)
    kms.refuses(REQUEST, forger.variant(without(RANDR), protection=keys))


@_add("request-refuses-no-tp", "4.2.1", "refused: no TP payload")
def _no_tp(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request_forger().variant(without(TP)))


@_add("request-refuses-crypto-sessions", "4.2.1.1", "refused: crypto sessions in REQUEST_INIT")
def _sessions(kms: KmsSubject) -> None:
    forger = kms.request_forger()
    header = with_header(
        forger.message, map_type=CsIdMapType.GENERIC_ID, crypto_sessions=(GenericIdEntry(cs_id=1),)
    )
    kms.refuses(REQUEST, forger.variant(header=header))


@_add("request-refuses-srtp-id", "4.2.1.1", "refused: the SRTP-ID map in REQUEST_INIT")
def _srtp_id(kms: KmsSubject) -> None:
    forger = kms.request_forger()
    entry = SrtpIdEntry(policy_no=0, ssrc=1, roc=0)
    header = with_header(forger.message, map_type=CsIdMapType.SRTP_ID, crypto_sessions=(entry,))
    kms.refuses(REQUEST, forger.variant(header=header))


@_add("request-refuses-other-kms", "4.2.1.1", "refused: IDRkms names another KMS")
def _other_kms(kms: KmsSubject) -> None:
    other = "sip:kms@elsewhere.invalid"
    following = (kms.initiator.uri + other).encode()
    edit = named(IdRole.KMS, other)
    kms.refuses(REQUEST, kms.request_forger().variant(edit, following=following))


@_add("request-refuses-other-identity", "4.2.1.3", "refused: IDRi of somebody else than the key's owner")
def _other_identity(kms: KmsSubject) -> None:
    following = (kms.responder.uri + kms.kms).encode()
    edit = named(IdRole.INITIATOR, kms.responder.uri)
    kms.refuses(REQUEST, kms.request_forger().variant(edit, following=following))


@_add("request-refuses-identities-outside-mac", "5.5", "refused: a MAC that does not cover the identities")
def _no_identities(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request_forger().variant(following=b""))


@_add("request-refuses-other-data-type", "4.2.1.3", "refused: a message that is not for a KMS")
def _data_type(kms: KmsSubject) -> None:
    forger = kms.request_forger()
    kms.refuses(REQUEST, forger.variant(header=with_header(forger.message, data_type=DataType.TRANSFER_RESP)))


@_add("request-refuses-trailing", "RFC 3830 6", "refused: an octet after the last payload")
def _trailing(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request().message + b"\0")


@_add("request-refuses-truncated", "RFC 3830 6", "refused: a message cut short")
def _truncated(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, kms.request().message[:-1])


@_add("request-refuses-two-t", "4.2.1.1", "refused: two T payloads", level="should")
def _two_t(kms: KmsSubject) -> None:
    forger = kms.request_forger()
    kms.refuses(REQUEST, forger.variant(before_last(forger.message.one(T))))


@_add("request-refuses-unknown-key", "4.2.1.3", "refused: a key that the KMS does not know")
def _unknown_key(kms: KmsSubject) -> None:
    party = replace(kms.initiator, key_id=b"no-such-key-id", key=kms.responder.key)
    kms.refuses(REQUEST, kms.request(party=party).message)


@_add("request-refuses-broken-flags", "6.10", "refused: G without F in the TP")
def _flags(kms: KmsSubject) -> None:
    forger = kms.request_forger()
    position = forger.message.raw.index(forger.message.one(TP).policy_octets) + _FLAGS_AT
    octets = bytearray(forger.message.raw)
    octets[position] &= ~_F & 0xFF
    kms.refuses(REQUEST, forger.resealed(bytes(octets)))


@_add("request-refuses-others-name", "4.2.1.3", "refused: a ticket in somebody else's name")
def _in_anothers_name(kms: KmsSubject) -> None:
    policy = kms.policy(initiator=kms.responder.uri)
    kms.refuses(REQUEST, kms.request(policy).message)
