"""What RFC 6043 requires of a user agent that is called in each mode, with each kind of ticket."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.conformance.agent_subject import AgentSubject, carried, carrying
from sipmikey.conformance.agent_update import KEYS_OF_BOTH
from sipmikey.conformance.forge import clear_keys, flipped, replacing
from sipmikey.conformance.kms_subject import PLAIN
from sipmikey.conformance.requirement import NotTestableError, Requirements, check
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import KeyDataType, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP
from sipmikey.mikey.ticket import TICKET, TicketFlags
from sipmikey.mikey.verification import EXT
from sipmikey.ticket.base_ticket import SPI_LENGTH, make_session_keys, seal_ticket
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.mode import Mode, flags_for
from sipmikey.ticket.request import TicketGrant, grant_of
from sipmikey.ticket.transfer import TransferInitiator

MODE_REQUIREMENTS: Requirements[AgentSubject] = Requirements("agent")
_add = MODE_REQUIREMENTS.add

_MALLORY = "sip:mallory@example.invalid"
_NO_RANDRR = TicketFlags.of("DEFHINO")
_REUSABLE = TicketFlags.of("DEFGHIJNO")
_HOUR_S = 3600


def _sealed(
    agent: AgentSubject, tpk: TicketProtectionKey, flags: TicketFlags, **fields: object
) -> TicketGrant:
    """Return a ticket with *flags* that is made here and sealed with *tpk*."""
    env, policy = agent.kms.env, agent.kms.policy(flags, **fields)
    ticket, contents = seal_ticket(
        env, policy.without_requested_keys(), tpk, make_session_keys(env, policy.requested_keys)
    )
    return grant_of(ticket, policy.without_requested_keys(), contents)


def _asks_nobody(agent: AgentSubject, grant: TicketGrant) -> None:
    before = len(agent.door.asked)
    agent.takes(grant)
    check(len(agent.door.asked) == before, "the user agent asked the KMS")


def _refuses(agent: AgentSubject, grant: TicketGrant) -> None:
    agent.refuses_message(grant=grant)


def _altered(grant: TicketGrant) -> TicketGrant:
    return replace(grant, ticket=grant.ticket.with_data(ticket_data=flipped(grant.ticket.ticket_data)))


def _unlike(tpk: TicketProtectionKey) -> TicketProtectionKey:
    return TicketProtectionKey(key=Secret(b"u" * 32), key_id=tpk.key_id)


# Tickets of the KMS that the KMS resolves


@_add("plain-accepted", "5.1.1", "without key forking (I = 0) TRANSFER_RESP gives keys under MPKi")
def _plain(agent: AgentSubject) -> None:
    agent.takes(agent.granted(PLAIN)).open()


@_add("plain-no-randrkms", "4.2.2.3", "without key forking TRANSFER_RESP has no RANDRkms")
def _no_rand_kms(agent: AgentSubject) -> None:
    response = agent.takes(agent.granted(PLAIN)).response
    check(not response.all(RANDR, RandRole.KMS), "it has one, which RESOLVE_RESP has not")


@_add("plain-refuses-bad-mac", "4.2.2.2", "refused: without key forking, a MAC that does not verify")
def _plain_mac(agent: AgentSubject) -> None:
    agent.refuses_message(grant=agent.granted(PLAIN), right_mac=False)


@_add("plain-refuses-initiator-data", "6.10", "refused: Initiator Data without key forking", level="should")
def _plain_data(agent: AgentSubject) -> None:
    edit = replacing(TICKET, lambda ticket: ticket.with_data(initiator_data=b"\0"))
    agent.refuses_message(edit, grant=agent.granted(PLAIN))


@_add("no-randrr", "4.2.2.3", "with G = 0 TRANSFER_RESP has no RANDRr, and its keys fit")
def _no_rand_r(agent: AgentSubject) -> None:
    taken = agent.takes(agent.granted(_NO_RANDRR))
    check(not taken.response.all(RANDR, RandRole.RESPONDER), "it has one")
    taken.open()


@_add("reuse-accepted", "5.3", "a ticket with J = 1 is taken again, with another TRANSFER_INIT")
def _reuse(agent: AgentSubject) -> None:
    grant = agent.granted(_REUSABLE)
    first, second = agent.takes(grant), agent.takes(grant)
    second.open()
    check(first.response.header.csb_id != second.response.header.csb_id, "the CSB ID is the same")


@_add("wildcard-accepted", "6.10", "a ticket whose responder is the wildcard of the domain is taken")
def _wildcard(agent: AgentSubject) -> None:
    domain = agent.kms.responder.uri.partition("@")[2]
    agent.takes(agent.kms_ticket(responders=(f"sip:*@{domain}",))).open()


@_add("several-accepted", "6.10", "a ticket that names several responders is taken by each")
def _several(agent: AgentSubject) -> None:
    agent.takes(agent.kms_ticket(responders=(_MALLORY, agent.kms.responder.uri))).open()


@_add("other-responders-refused", "4.2.3.4", "refused: a ticket that names somebody else")
def _others(agent: AgentSubject) -> None:
    domain = agent.kms.responder.uri.partition("@")[2]
    grant = agent.kms_ticket(responders=(f"sip:nobody@{domain}",))
    text = _for_somebody_else(agent, grant)
    agent.refuses(text)


def _for_somebody_else(agent: AgentSubject, grant: TicketGrant) -> str:
    """Return an offer to the user agent with a ticket that does not name it."""
    _, _, text = agent.offer()
    return carrying(text, _transfer(agent, grant, text).message)


def _transfer(
    agent: AgentSubject, grant: TicketGrant, text: str, keys: tuple[KeyData, ...] = ()
) -> TransferInitiator:
    """Return a TRANSFER_INIT with the crypto sessions of an offer, and *keys* of the Initiator."""
    init = Message.parse(carried(text))
    entries = init.header.generic_ids()
    if keys:
        entries = tuple(replace(entry, spi=keys[-1].spi or b"") for entry in entries)
    return TransferInitiator.start(
        agent.kms.env,
        grant,
        crypto_sessions=entries,
        policies=init.all(SP),
        initiator=grant.policy.initiator or agent.kms.initiator.uri,
        responder=agent.kms.responder.uri,
        extensions=init.all(EXT),
        keys=keys,
    )


@_add("initiator-keys-accepted", "4.2.2.1", "with L = 1 keys of the Initiator are used")
def _initiator_keys(agent: AgentSubject) -> None:
    env = agent.kms.env
    _, grant, text = agent.offer(agent.granted(KEYS_OF_BOTH))
    length = grant.policy.suite.key_length
    key = KeyData(key_type=KeyDataType.TGK, key=Secret(env.random(length)), spi=env.random(SPI_LENGTH))
    transfer = _transfer(agent, grant, text, (key,))
    called = agent.call(agent.kms.initiator.uri, carrying(text, transfer.message))
    check(called.answered, f"an offer with keys got {called.describe()}")
    response = carried(called.sdp)
    transfer.receive(response)
    for entry in Message.parse(response).header.generic_ids():
        own = Message.parse(response).all(KEMAC)
        check(entry.spi == key.spi or own, f"CS ID {entry.cs_id} has the SPI {entry.spi.hex()}")


@_add("initiator-keys-refused-in-the-clear", "4.2.2.1", "refused: with L = 1, keys that are not encrypted")
def _clear_keys(agent: AgentSubject) -> None:
    agent.refuses_message(clear_keys(), grant=agent.granted(KEYS_OF_BOTH))


# Tickets that the Initiator makes and the KMS resolves


def _otway(agent: AgentSubject) -> TicketGrant:
    if agent.kms_ticket_key is None:
        raise NotTestableError("the KMS of the suite shares no ticket key with the caller")
    return _sealed(agent, agent.kms_ticket_key, flags_for(Mode.OTWAY_REES))


@_add("otway-rees-accepted", "4.1.1", "a ticket that the Initiator made, for the KMS to resolve, is taken")
def _otway_taken(agent: AgentSubject) -> None:
    agent.takes(_otway(agent)).open()


@_add("otway-rees-asks-kms", "4.1.1", "the KMS is asked about a ticket that the Initiator made (E = 1)")
def _otway_asks(agent: AgentSubject) -> None:
    before = len(agent.door.asked)
    agent.takes(_otway(agent))
    check(len(agent.door.asked) > before, "the user agent did not ask")


@_add("otway-rees-refuses-altered-ticket", "4.2.3.4", "refused: such a ticket, altered")
def _otway_altered(agent: AgentSubject) -> None:
    _refuses(agent, _altered(_otway(agent)))


# Tickets of the KMS that the user agent opens


def _kerberos_key(agent: AgentSubject) -> TicketProtectionKey:
    if agent.ticket_key is None:
        raise NotTestableError("no ticket key of the user agent and the KMS is given (--ticket-key)")
    return agent.ticket_key


def _kerberos(agent: AgentSubject, **fields: object) -> TicketGrant:
    return _sealed(agent, _kerberos_key(agent), flags_for(Mode.KERBEROS), **fields)


@_add("kerberos-accepted", "4.1.1", "a ticket of the KMS is opened with the key shared with the KMS")
def _kerberos_taken(agent: AgentSubject) -> None:
    agent.takes(_kerberos(agent)).open()


@_add("kerberos-asks-nobody", "4.2.3", "with E = 0 and that key the KMS is not asked", level="should")
def _kerberos_asks(agent: AgentSubject) -> None:
    _asks_nobody(agent, _kerberos(agent))


@_add("kerberos-refuses-altered-ticket", "A", "refused: a ticket for the user agent to open, altered")
def _kerberos_altered(agent: AgentSubject) -> None:
    _refuses(agent, _altered(_kerberos(agent)))


@_add("kerberos-refuses-other-key", "A", "refused: such a ticket, sealed with another key of that name")
def _kerberos_other(agent: AgentSubject) -> None:
    _refuses(agent, _sealed(agent, _unlike(_kerberos_key(agent)), flags_for(Mode.KERBEROS)))


@_add("kerberos-refuses-bad-mac", "4.2.2.2", "refused: such a ticket in a TRANSFER_INIT with a wrong MAC")
def _kerberos_mac(agent: AgentSubject) -> None:
    agent.refuses_message(grant=_kerberos(agent), right_mac=False)


@_add("kerberos-refuses-ended", "6.10", "refused: such a ticket after its end")
def _kerberos_ended(agent: AgentSubject) -> None:
    _refuses_ended(agent, _kerberos_key(agent), Mode.KERBEROS)


@_add("kerberos-refuses-other-responders", "6.10", "refused: such a ticket that names somebody else")
def _kerberos_others(agent: AgentSubject) -> None:
    agent.refuses(_for_somebody_else(agent, _kerberos(agent, responders=(_MALLORY,))))


@_add("kerberos-refuses-other-caller", "12.4", "refused: such a ticket of another Initiator")
def _kerberos_caller(agent: AgentSubject) -> None:
    grant = _kerberos(agent, initiator=_MALLORY)
    unnamed = replace(grant, policy=replace(grant.policy, initiator=agent.kms.initiator.uri))
    agent.refuses(_for_somebody_else(agent, unnamed))


@_add("kerberos-refuses-mandatory", "6.10", "refused without the KMS: such a ticket with E = 1")
def _kerberos_mandatory(agent: AgentSubject) -> None:
    flags = flags_for(Mode.FULL, key_forking=False)
    _refuses(agent, _sealed(agent, _kerberos_key(agent), flags))


def _refuses_ended(agent: AgentSubject, tpk: TicketProtectionKey, mode: Mode) -> None:
    """Call with a ticket that has ended; its grant says otherwise, so that an offer can be made of it."""
    now = agent.kms.env.now_ns() // 1_000_000_000
    stamp = agent.kms.env.timestamp()
    ended = _sealed(agent, tpk, flags_for(mode), valid_until=stamp.ntp_utc_32(now - _HOUR_S))
    later = stamp.ntp_utc_32(now + _HOUR_S)
    agent.refuses(_for_somebody_else(agent, replace(ended, policy=replace(ended.policy, valid_until=later))))


# Tickets that the Initiator makes and the user agent opens


def _preshared_key(agent: AgentSubject) -> TicketProtectionKey:
    if agent.initiator_ticket_key is None:
        raise NotTestableError(
            "no ticket key of the user agent and the caller is given (--initiator-ticket-key)"
        )
    return agent.initiator_ticket_key


def _preshared(agent: AgentSubject, **fields: object) -> TicketGrant:
    return _sealed(agent, _preshared_key(agent), flags_for(Mode.PRESHARED), **fields)


@_add("preshared-accepted", "4.1.1", "a ticket that the Initiator made is opened with the key they share")
def _preshared_taken(agent: AgentSubject) -> None:
    agent.takes(_preshared(agent)).open()


@_add("preshared-asks-nobody", "4.1.1", "no KMS is asked about such a ticket", level="should")
def _preshared_asks(agent: AgentSubject) -> None:
    _asks_nobody(agent, _preshared(agent))


@_add("preshared-refuses-altered-ticket", "A", "refused: such a ticket, altered")
def _preshared_altered(agent: AgentSubject) -> None:
    _refuses(agent, _altered(_preshared(agent)))


@_add("preshared-refuses-other-key", "A", "refused: such a ticket, sealed with another key of that name")
def _preshared_other(agent: AgentSubject) -> None:
    _refuses(agent, _sealed(agent, _unlike(_preshared_key(agent)), flags_for(Mode.PRESHARED)))


@_add("preshared-refuses-bad-mac", "4.2.2.2", "refused: such a ticket in a TRANSFER_INIT with a wrong MAC")
def _preshared_mac(agent: AgentSubject) -> None:
    agent.refuses_message(grant=_preshared(agent), right_mac=False)


@_add("preshared-refuses-ended", "6.10", "refused: such a ticket after its end")
def _preshared_ended(agent: AgentSubject) -> None:
    _refuses_ended(agent, _preshared_key(agent), Mode.PRESHARED)


@_add("preshared-refuses-other-responders", "6.10", "refused: such a ticket that names somebody else")
def _preshared_others(agent: AgentSubject) -> None:
    agent.refuses(_for_somebody_else(agent, _preshared(agent, responders=(_MALLORY,))))


@_add("preshared-refuses-others-names", "12.4", "refused: one caller's key, used in another's name")
def _others_names(agent: AgentSubject) -> None:
    grant = _preshared(agent, initiator=_MALLORY)
    _, _, text = agent.offer()
    message = _transfer(agent, grant, text).message
    agent.refuses(carrying(text, message), caller=_MALLORY)


@_add("preshared-refuses-name-of-kms", "12.4", "refused: the KMS's name under a caller's key")
def _name_of_kms(agent: AgentSubject) -> None:
    _refuses(agent, _sealed(agent, _preshared_key(agent), flags_for(Mode.KERBEROS)))
