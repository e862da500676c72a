"""What RFC 6043 requires of a user agent that asks the KMS about a ticket (RESOLVE_INIT)."""

from __future__ import annotations

from sipmikey.conformance.agent_subject import AgentSubject, carrying
from sipmikey.conformance.forge import Forger, flipped, with_header
from sipmikey.conformance.requirement import NotTestableError, Requirements, check
from sipmikey.keys.certificate import rsa_public_key
from sipmikey.keys.signature import SIGNATURE_HASH, verify_signature
from sipmikey.mikey.certificate import PKE, SIGN
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, DataType, IdRole, RandRole, SignatureType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V
from sipmikey.ticket.credentials import CertificateCredential
from sipmikey.ticket.identity import canonical

ASKING_REQUIREMENTS: Requirements[AgentSubject] = Requirements("agent")
_add = ASKING_REQUIREMENTS.add

_INITS = (DataType.RESOLVE_INIT_PSK, DataType.RESOLVE_INIT_PK)


@_add("resolve-init-sent", "4.2.3", "the KMS is asked with RESOLVE_INIT where E is 1")
def _sent(agent: AgentSubject) -> None:
    header = agent.asked().header
    check(header.data_type in _INITS, f"it got {header.data_type.name}")


@_add("resolve-init-map", "4.2.3.1", "RESOLVE_INIT has the Empty map and no crypto session")
def _map(agent: AgentSubject) -> None:
    header = agent.asked().header
    check(header.map_type is CsIdMapType.EMPTY, f"the map is {header.map_type.name}")
    check(header.cs_count == 0, f"#CS is {header.cs_count}")


@_add("resolve-init-v-flag", "4.2.3.1", "the V flag of RESOLVE_INIT is 1")
def _v_flag(agent: AgentSubject) -> None:
    check(agent.asked().header.v, "it is 0")


@_add("resolve-init-time", "4.2.3.1", "RESOLVE_INIT has one T, which is of now")
def _time(agent: AgentSubject) -> None:
    agent.kms.env.check_timestamp(agent.asked().one(T).timestamp, "RESOLVE_INIT")


@_add("resolve-init-randrr", "4.2.3.1", "RESOLVE_INIT has RANDRr, of 16 octets or more")
def _rand(agent: AgentSubject) -> None:
    found = agent.asked().all(RANDR, RandRole.RESPONDER)
    check(len(found) == 1, f"{len(found)} RANDRr payloads")
    check(len(found[0].rand) >= 16, f"it has {len(found[0].rand)} octets")


@_add("resolve-init-fresh", "4.2.3.1", "CSB ID and RANDRr are new in each RESOLVE_INIT")
def _fresh(agent: AgentSubject) -> None:
    first, second = agent.asked(0), agent.asked(1)
    check(first.header.csb_id != second.header.csb_id, "the CSB ID is the same twice")
    check(first.all(RANDR) != second.all(RANDR), "RANDRr is the same twice")


@_add("resolve-init-idrkms", "4.2.3.1", "RESOLVE_INIT names the KMS", level="should")
def _idrkms(agent: AgentSubject) -> None:
    found = agent.asked().all(IDR, IdRole.KMS)
    check(len(found) == 1, f"{len(found)} IDRkms payloads")
    check(found[0].data == canonical(agent.kms.kms).encode(), f"IDRkms is {found[0].data!r}")


@_add("resolve-init-idrr", "4.2.3.2", "RESOLVE_INIT names the Responder", level="should")
def _idrr(agent: AgentSubject) -> None:
    found = agent.asked().all(IDR, IdRole.RESPONDER)
    check(len(found) == 1, f"{len(found)} IDRr payloads")
    check(found[0].data == agent.kms.responder.uri.encode(), f"IDRr is {found[0].data!r}")


@_add("resolve-init-ticket", "4.2.3.1", "the TICKET in RESOLVE_INIT is as it came, with Initiator Data")
def _ticket(agent: AgentSubject) -> None:
    before = len(agent.door.asked)
    offerer, _, text = agent.offer()
    agent.call(agent.kms.initiator.uri, text)
    check(len(agent.door.asked) > before, "the user agent did not ask the KMS")
    sent = Message.parse(offerer.transfer_init).one(TICKET)
    asked = Message.parse(agent.door.asked[before]).one(TICKET)
    check(asked.policy_octets == sent.policy_octets, "the Ticket Policy was changed")
    check(asked.ticket_data == sent.ticket_data, "Ticket Data was changed")
    check(asked.initiator_data == sent.initiator_data, "Initiator Data was changed")


@_add("resolve-init-mac", "4.2.3.2", "the MAC of RESOLVE_INIT covers it and the identities")
def _mac(agent: AgentSubject) -> None:
    init = agent.asked()
    if init.header.data_type is not DataType.RESOLVE_INIT_PSK:
        raise NotTestableError("the user agent asks by certificate")
    check(isinstance(init.payloads[-1], V), "V is not the last payload")
    following = (agent.kms.responder.uri + canonical(agent.kms.kms)).encode()
    forger = Forger(message=init, inkey=agent.kms.responder.key, following=following)
    check(forger.variant() == init.raw, "it does not verify")


@_add("rejected-without-kms", "4.2.2.2", "an offer with unacceptable policies is refused without the KMS")
def _early(agent: AgentSubject) -> None:
    offerer, grant, text = agent.offer()
    message = Message.parse(offerer.transfer_init)
    entries = tuple(
        type(entry)(cs_id=entry.cs_id, policies=(9,), session_data=entry.session_data, spi=entry.spi)
        for entry in message.header.generic_ids()
    )
    header = with_header(message, crypto_sessions=entries)
    before = len(agent.door.asked)
    agent.refuses(carrying(text, agent.variant(offerer, grant, header=header)))
    check(len(agent.door.asked) == before, "the user agent asked the KMS")


# With a certificate


def _asked_by_certificate(agent: AgentSubject) -> tuple[Message, CertificateCredential]:
    certified = agent.kms.certified
    if certified is None or agent.pair is None:
        raise NotTestableError("no certificates are given (--certificates)")
    init = agent.asked()
    check(init.header.data_type is DataType.RESOLVE_INIT_PK, f"it is {init.header.data_type.name}")
    return init, certified.responder


@_add("resolve-init-pk-signature", "5.5", "SIGNr covers RESOLVE_INIT_PK and the identities")
def _signature(agent: AgentSubject) -> None:
    init, credential = _asked_by_certificate(agent)
    check(isinstance(init.payloads[-1], SIGN), "SIGNr is not the last payload")
    signature = init.one(SIGN)
    kind = SignatureType(signature.signature_type)
    following = (agent.kms.responder.uri + canonical(agent.kms.kms)).encode()
    verify_signature(
        rsa_public_key(credential.certificates[0]),
        signature.signature,
        init.raw[: -len(signature.signature)] + following,
        hash_funcs=(SIGNATURE_HASH[init.header.prf],),
        signature_type=kind,
    )


@_add("resolve-init-pk-envelope", "4.2.3.3", "PKE has an envelope key for the KMS's certificate")
def _envelope(agent: AgentSubject) -> None:
    init, _ = _asked_by_certificate(agent)
    check(len(init.all(PKE)) == 1, f"{len(init.all(PKE))} PKE payloads")
    none = Secret(bytes(agent.kms.suite.key_length))
    check(agent.inkey(init) != none, "it does not open with the KMS's key")


@_add("resolve-init-pk-accepted", "4.2.3.3", "a call is taken with keys that came under the envelope key")
def _pk_accepted(agent: AgentSubject) -> None:
    _asked_by_certificate(agent)
    agent.taken().open()


@_add("resolve-init-pk-refuses-other-key", "4.2.3.5", "refused: a RESOLVE_RESP under another envelope key")
def _pk_other(agent: AgentSubject) -> None:
    _asked_by_certificate(agent)
    agent.refuses_kms(lambda forger, _: flipped(forger.message.raw))
