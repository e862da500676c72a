"""What RFC 6043 requires of a user agent that is called (the Responder), and that it refuses."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.conformance.agent_subject import AgentSubject, carrying, is_response, without_keys
from sipmikey.conformance.forge import (
    Forger,
    clear_keys,
    flipped,
    replacing,
    shifted_time,
    with_header,
    without,
)
from sipmikey.conformance.requirement import Requirements, check
from sipmikey.keys.derivation import response_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.mikey.header import SrtpIdEntry, SrtpSessionData
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData, encode_key_data
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import (
    CsIdMapType,
    DataType,
    EncrAlg,
    IdRole,
    RandRole,
)
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import EXT, V, sdp_ids_extension
from sipmikey.sdp.attribute import format_value
from sipmikey.ticket.protection import verify
from sipmikey.ticket.resolve import Modifier, fork_keys

AGENT_REQUIREMENTS: Requirements[AgentSubject] = Requirements("agent")
_add = AGENT_REQUIREMENTS.add


@_add("answer-given", "4.2.2.3", "an offer that is in order is answered with TRANSFER_RESP")
def _given(agent: AgentSubject) -> None:
    response = agent.taken().response
    check(is_response(response), f"the message is {response.header.data_type.name}")


@_add("answer-header", "4.2.2.3", "PRF func and CSB ID of TRANSFER_RESP are those of TRANSFER_INIT")
def _header(agent: AgentSubject) -> None:
    taken = agent.taken()
    check(taken.response.header.csb_id == taken.init.header.csb_id, "the CSB ID is another")
    check(taken.response.header.prf is taken.init.header.prf, "PRF func is another")


@_add("answer-map", "6.1", "the map of TRANSFER_RESP is GENERIC-ID, with every crypto session offered")
def _map(agent: AgentSubject) -> None:
    taken = agent.taken()
    header = taken.response.header
    check(header.map_type is CsIdMapType.GENERIC_ID, f"the map is {header.map_type.name}")
    answered = {entry.cs_id for entry in header.generic_ids()}
    missing = {entry.cs_id for entry in taken.init.header.generic_ids()} - answered
    check(not missing, f"crypto session {min(missing, default=0)} is missing")


@_add("answer-v-flag", "6.1", "the V flag of TRANSFER_RESP is 0", level="should")
def _v_flag(agent: AgentSubject) -> None:
    check(not agent.taken().response.header.v, "it is 1")


@_add("answer-v-last", "4.2.2.3", "V is the last payload of TRANSFER_RESP")
def _v_last(agent: AgentSubject) -> None:
    check(isinstance(agent.taken().response.payloads[-1], V), "it is not")


@_add("answer-time", "4.2.2.3", "TRANSFER_RESP has one T, which is of now")
def _time(agent: AgentSubject) -> None:
    stamp = agent.taken().response.one(T).timestamp
    agent.kms.env.check_timestamp(stamp, "TRANSFER_RESP")


@_add("answer-randrr", "6.10", "with G = 1 TRANSFER_RESP has RANDRr, of 16 octets or more")
def _rand(agent: AgentSubject) -> None:
    found = agent.taken().response.all(RANDR, RandRole.RESPONDER)
    check(len(found) == 1, f"{len(found)} RANDRr payloads")
    check(len(found[0].rand) >= 16, f"it has {len(found[0].rand)} octets")


@_add("answer-fresh-randrr", "4.2.2.3", "RANDRr is new in each TRANSFER_RESP")
def _fresh(agent: AgentSubject) -> None:
    first, second = (agent.taken(n).response.all(RANDR, RandRole.RESPONDER) for n in (0, 1))
    check(first != second or not first, "it is the same twice")


@_add("answer-forking", "4.2.2.3", "TRANSFER_RESP repeats IDRr and RANDRkms of RESOLVE_RESP")
def _forking(agent: AgentSubject) -> None:
    response = agent.taken().response
    idr, rand = response.all(IDR, IdRole.RESPONDER), response.all(RANDR, RandRole.KMS)
    check(len(idr) == 1, f"{len(idr)} IDRr payloads")
    check(len(rand) == 1, f"{len(rand)} RANDRkms payloads")
    check(idr[0].data == agent.kms.responder.uri.encode(), f"IDRr is {idr[0].data!r}")


@_add("answer-mac", "5.5", "the MAC of TRANSFER_RESP covers it and TRANSFER_INIT, with keys from MPKr'")
def _mac(agent: AgentSubject) -> None:
    taken = agent.taken()
    grant, response = taken.grant, taken.response
    assert grant.mpk_r is not None
    modifier = Modifier(
        idr=response.one(IDR, IdRole.RESPONDER), rand_kms=response.one(RANDR, RandRole.KMS).rand
    )
    mpk_r, _ = fork_keys(grant.policy.suite, grant.mpk_r, grant.keys, modifier)
    keys = response_message_keys(
        Prf(response.header.prf, mpk_r),
        response.header.csb_id,
        rand_i=taken.init.one(RANDR, RandRole.INITIATOR).rand,
        rand_r=response.one(RANDR, RandRole.RESPONDER).rand,
    )
    verify(response, grant.policy.suite, keys, taken.init.raw)


@_add("answer-complete", "6.1.1", "each crypto session has one policy, Session Data and an SPI")
def _complete(agent: AgentSubject) -> None:
    for entry in agent.taken().response.header.generic_ids():
        check(len(entry.policies) == 1, f"CS ID {entry.cs_id}: {len(entry.policies)} policies")
        check(SrtpSessionData.of(entry) is not None, f"CS ID {entry.cs_id}: no Session Data")
        check(entry.spi, f"CS ID {entry.cs_id}: no SPI")


@_add("answer-policy", "4.2.2.4", "each policy chosen is one of those offered")
def _policy(agent: AgentSubject) -> None:
    taken = agent.taken()
    offered = {entry.cs_id: entry.policies for entry in taken.init.header.generic_ids()}
    own = {sp.policy_no for sp in taken.response.all(SP)}
    for entry in taken.response.header.generic_ids():
        allowed = offered.get(entry.cs_id) or ()
        check(set(entry.policies) <= {*allowed} - own, f"CS ID {entry.cs_id}: policy {entry.policies}")


@_add("answer-spi", "6.1.1", "each SPI names a session key of the ticket or of TRANSFER_RESP")
def _spi(agent: AgentSubject) -> None:
    taken = agent.taken()
    known = {key.spi for key in taken.grant.keys}
    for entry in taken.response.header.generic_ids():
        check(entry.spi in known or taken.response.all(KEMAC), f"CS ID {entry.cs_id}: {entry.spi.hex()}")


@_add("answer-ssrcs", "6.1.1", "the SSRC that the offer gave is kept, and another direction has another")
def _ssrcs(agent: AgentSubject) -> None:
    taken = agent.taken()
    given = {e.cs_id: e.session_data for e in taken.init.header.generic_ids() if e.session_data}
    answered = {e.cs_id: e.session_data for e in taken.response.header.generic_ids()}
    check(all(answered.get(cs_id) == data for cs_id, data in given.items()), "an SSRC was changed")


@_add("answer-profile", "RFC 3711", "the m-lines of the answer are RTP/SAVP")
def _profile(agent: AgentSubject) -> None:
    lines = [line for line in agent.taken().sdp.splitlines() if line.startswith("m=")]
    check(lines and all(line.split()[2] == "RTP/SAVP" for line in lines), f"{lines}")


@_add("answer-accepted", "4.2.2.4", "the answer as a whole gives keys for both directions")
def _accepted(agent: AgentSubject) -> None:
    agent.taken().open()


@_add("answer-no-keys", "4.2.2.3", "TRANSFER_RESP has no KEMAC where M is 0")
def _no_kemac(agent: AgentSubject) -> None:
    check(not agent.taken().response.all(KEMAC), "it has one")


# What a Responder refuses of a TRANSFER_INIT


@_add("offer-refuses-bad-mac", "4.2.2.2", "refused: a MAC that does not verify")
def _bad_mac(agent: AgentSubject) -> None:
    agent.refuses_message(right_mac=False)


@_add("offer-refuses-replay", "4.2.2.2", "refused: a TRANSFER_INIT that came before")
def _replay(agent: AgentSubject) -> None:
    _, _, text = agent.offer()
    first = agent.call(agent.kms.initiator.uri, text)
    check(first.answered, f"the first got {first.describe()}")
    agent.refuses(text)


@_add("offer-refuses-stale", "4.2.2.2", "refused: T of a day ago")
def _stale(agent: AgentSubject) -> None:
    agent.refuses_message(shifted_time(-86_400))


@_add("offer-refuses-future", "4.2.2.2", "refused: T of tomorrow")
def _future(agent: AgentSubject) -> None:
    agent.refuses_message(shifted_time(86_400))


@_add("offer-refuses-other-vi", "4.2.2.2", "refused: Initiator Data of another TRANSFER_INIT")
def _other_vi(agent: AgentSubject) -> None:
    offerer, grant, text = agent.offer()
    other = Message.parse(agent.variant(offerer, grant, shifted_time(-1))).one(TICKET)
    message = Message.parse(offerer.transfer_init)
    octets = Message.build(message.header, replacing(TICKET, lambda _: other)(list(message.payloads))).raw
    agent.refuses(carrying(text, octets))


@_add("offer-refuses-no-initiator-data", "6.10", "refused: no Initiator Data although keys are forked")
def _no_initiator_data(agent: AgentSubject) -> None:
    edit = replacing(TICKET, lambda ticket: ticket.with_data(initiator_data=b""))
    agent.refuses_message(edit)


@_add("offer-refuses-altered-ticket", "4.2.3.4", "refused: a ticket that the KMS does not resolve")
def _altered_ticket(agent: AgentSubject) -> None:
    edit = replacing(TICKET, lambda t: t.with_data(ticket_data=flipped(t.ticket_data)))
    agent.refuses_message(edit)


@_add("offer-refuses-no-t", "4.2.2.1", "refused: no T payload")
def _no_t(agent: AgentSubject) -> None:
    agent.refuses_message(without(T))


@_add("offer-refuses-no-randri", "4.2.2.1", "refused: no RANDRi payload")
def _no_rand(agent: AgentSubject) -> None:
    agent.refuses_message(without(RANDR))


@_add("offer-refuses-two-tickets", "4.2.2.1", "refused: two TICKET payloads", level="should")
def _two_tickets(agent: AgentSubject) -> None:
    agent.refuses_message(lambda p: [*p[:-1], next(i for i in p if isinstance(i, TICKET)), p[-1]])


@_add("offer-refuses-srtp-id", "6.1", "refused: the SRTP-ID map in TRANSFER_INIT")
def _srtp_id(agent: AgentSubject) -> None:
    offerer, grant, text = agent.offer()
    header = with_header(
        Message.parse(offerer.transfer_init),
        map_type=CsIdMapType.SRTP_ID,
        crypto_sessions=(SrtpIdEntry(policy_no=0, ssrc=1, roc=0),),
    )
    agent.refuses(carrying(text, agent.variant(offerer, grant, header=header)))


@_add("offer-refuses-unknown-policy", "6.1.1", "refused: a crypto session names a policy that is not given")
def _unknown_policy(agent: AgentSubject) -> None:
    _with_entries(agent, policies=(9,))


@_add("offer-refuses-cs-id-twice", "6.1.1", "refused: two crypto sessions of one CS ID", level="should")
def _cs_id_twice(agent: AgentSubject) -> None:
    _with_entries(agent, cs_id=1)


@_add("offer-refuses-unknown-spi", "6.1.1", "refused: an SPI that names no key")
def _unknown_spi(agent: AgentSubject) -> None:
    _with_entries(agent, spi=b"none")


def _with_entries(agent: AgentSubject, **changes: object) -> None:
    offerer, grant, text = agent.offer()
    message = Message.parse(offerer.transfer_init)
    entries = tuple(replace(entry, **changes) for entry in message.header.generic_ids())  # type: ignore[arg-type]
    header = with_header(message, crypto_sessions=entries)
    agent.refuses(carrying(text, agent.variant(offerer, grant, header=header)))


@_add("offer-refuses-keys-in-the-clear", "4.2.2.1", "refused: keys of the Initiator although L is 0")
def _keys(agent: AgentSubject) -> None:
    agent.refuses_message(clear_keys())


@_add("offer-refuses-other-data-type", "4.2.2.2", "refused: a message that is not a TRANSFER_INIT")
def _data_type(agent: AgentSubject) -> None:
    offerer, _, text = agent.offer()
    raw = offerer.transfer_init
    agent.refuses(carrying(text, raw[:1] + bytes((DataType.REQUEST_RESP,)) + raw[2:]))


@_add("offer-refuses-trailing", "RFC 3830 6", "refused: an octet after the last payload")
def _trailing(agent: AgentSubject) -> None:
    offerer, _, text = agent.offer()
    agent.refuses(carrying(text, offerer.transfer_init + b"\0"))


@_add("offer-refuses-truncated", "RFC 3830 6", "refused: a message cut short")
def _truncated(agent: AgentSubject) -> None:
    offerer, _, text = agent.offer()
    agent.refuses(carrying(text, offerer.transfer_init[:-1]))


@_add("offer-refuses-other-caller", "12.4", "refused: IDRi is not who calls", level="should")
def _other_caller(agent: AgentSubject) -> None:
    _, _, text = agent.offer()
    agent.refuses(text, caller="sip:mallory@example.invalid")


@_add("offer-refuses-no-keys", "RFC 4567 section 4.1.1", "refused: RTP/SAVP without a=key-mgmt")
def _no_keys(agent: AgentSubject) -> None:
    _, _, text = agent.offer()
    agent.refuses(without_keys(text))


@_add("offer-refuses-broken-base64", "RFC 4567 section 4.1.3", "refused: a=key-mgmt that is not base64")
def _base64(agent: AgentSubject) -> None:
    _, _, text = agent.offer()
    agent.refuses(carrying(text, "key-mgmt:mikey !!!not*base64"))


@_add("offer-refuses-stripped-protocol", "RFC 4567 7", "refused: a protocol of the SDP IDs was taken out")
def _bidding_down(agent: AgentSubject) -> None:
    def edit(payloads: list[Payload]) -> list[Payload]:
        kept = [item for item in payloads if not isinstance(item, EXT)]
        return [*kept[:-1], sdp_ids_extension(("other", "mikey")), kept[-1]]

    offerer, grant, text = agent.offer()
    value = format_value(agent.variant(offerer, grant, edit))
    agent.refuses(carrying(text, value))


# What a Responder refuses of the KMS


@_add("resolve-resp-refuses-bad-mac", "4.2.3.6", "refused: a RESOLVE_RESP whose MAC does not verify")
def _resp_mac(agent: AgentSubject) -> None:
    agent.refuses_kms(lambda forger, _: flipped(forger.message.raw))


@_add("resolve-resp-refuses-other-init", "5.5", "refused: a RESOLVE_RESP whose MAC leaves out RESOLVE_INIT")
def _resp_alone(agent: AgentSubject) -> None:
    agent.refuses_kms(lambda forger, init: forger.variant(following=b"", rands=init.all(RANDR)))


@_add("resolve-resp-refuses-no-idrr", "4.2.3.5", "refused: a RESOLVE_RESP without IDRr with forked keys")
def _resp_idr(agent: AgentSubject) -> None:
    agent.refuses_kms(lambda f, init: f.variant(without(IDR, IdRole.RESPONDER), rands=init.all(RANDR)))


@_add(
    "resolve-resp-refuses-no-randrkms",
    "4.2.3.5",
    "refused: a RESOLVE_RESP without RANDRkms with forked keys",
)
def _resp_rand(agent: AgentSubject) -> None:
    agent.refuses_kms(lambda f, init: f.variant(without(RANDR, RandRole.KMS), rands=init.all(RANDR)))


@_add("resolve-resp-refuses-other-mpki", "4.2.2.2", "refused: keys with which TRANSFER_INIT does not verify")
def _resp_mpki(agent: AgentSubject) -> None:
    def other(keys: tuple[KeyData, ...]) -> tuple[KeyData, ...]:
        return (replace(keys[0], key=Secret(b"m" * len(keys[0].key))), *keys[1:])

    agent.refuses_kms(lambda forger, init: forger.rekeyed(other, init.all(RANDR)))


@_add("resolve-resp-refuses-one-mpk", "4.2.3.5", "refused: a RESOLVE_RESP with one MPK with forked keys")
def _resp_one_mpk(agent: AgentSubject) -> None:
    agent.refuses_kms(lambda f, init: f.rekeyed(lambda keys: (keys[0], *keys[2:]), init.all(RANDR)))


@_add("resolve-resp-refuses-clear-keys", "4.2.3.5", "refused: a RESOLVE_RESP with keys in the clear")
def _resp_clear(agent: AgentSubject) -> None:
    def change(forger: Forger, init: Message) -> bytes:
        keys = forger.keys(init.all(RANDR))
        kemac = KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data(keys))
        return forger.variant(replacing(KEMAC, lambda _: kemac), rands=init.all(RANDR))

    agent.refuses_kms(change)


@_add("resolve-resp-refuses-stale", "4.2.3.6", "refused: a RESOLVE_RESP of a day ago", level="should")
def _resp_stale(agent: AgentSubject) -> None:
    agent.refuses_kms(lambda forger, init: forger.variant(shifted_time(-86_400), rands=init.all(RANDR)))


@_add("resolve-resp-refuses-refusal", "4.2.3.6", "refused: a call whose ticket the KMS does not resolve")
def _refusal(agent: AgentSubject) -> None:
    agent.refuses_without_keys()
