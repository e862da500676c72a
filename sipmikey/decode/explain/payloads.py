"""What is in each payload (RFC 3830 section 6, RFC 6043 section 6 and Appendix A)."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.decode.explain.node import FaultError
from sipmikey.decode.explain.scribe import Scribe
from sipmikey.decode.explain.words import FLAGS, is_registered, meaning
from sipmikey.mikey.registry import (
    CertType,
    DhGroup,
    EncrAlg,
    ErrorNo,
    ExtensionType,
    HashFunc,
    IdRole,
    IdType,
    KeyDataType,
    KeyIdType,
    KeyValidityType,
    MacAlg,
    PayloadType,
    PkeCache,
    PrfFunc,
    ProtType,
    RandRole,
    SignatureType,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
    TicketType,
    TsRole,
)
from sipmikey.mikey.ticket import TicketFlag, flag_violations, letters

MAX_NESTING = 4
"""How deep TP Data inside TP Data is described."""


def chain(scribe: Scribe, first: int, depth: int = 0) -> None:
    """Describe payloads up to the last one; *first* is the number of the first."""
    following = first
    while following != PayloadType.LAST:
        number = following
        if number not in PAYLOADS:
            raise FaultError(
                "next payload", f"unknown payload {number}: its length cannot be known", scribe.position
            )
        name, section, describe = PAYLOADS[number]
        with scribe.group(name, section) as node:
            following = PayloadType.LAST
            if number != PayloadType.SIGN:
                following = scribe.choice(PayloadType, "Next Payload")
            text = describe(scribe, depth)
            node.meaning = text


def kemac(scribe: Scribe, depth: int) -> str:
    alg = scribe.choice(EncrAlg, "Encr alg")
    length = scribe.number(2, "Encr data len")
    if alg == EncrAlg.NULL and length:
        with (
            scribe.group("Encr data", "RFC 3830 section 6.13", "not encrypted"),
            scribe.inside(length, "Encr data"),
        ):
            chain(scribe, PayloadType.KEY_DATA, depth)
    else:
        scribe.octets(length, "Encr data")
    _mac(scribe, "Mac alg", "MAC")
    return f"keys, {meaning(EncrAlg, alg)}"


def _mac(scribe: Scribe, alg_name: str, mac_name: str) -> int:
    alg = scribe.choice(MacAlg, alg_name)
    if not is_registered(MacAlg, alg):
        raise FaultError(alg_name, f"unknown algorithm {alg}, so of unknown length", scribe.position - 1)
    if MacAlg(alg).length:
        scribe.octets(MacAlg(alg).length, mac_name)
    return alg


def pke(scribe: Scribe, depth: int) -> str:
    offset = scribe.position
    word = int.from_bytes(scribe.take(2, "Data len"), "big")
    scribe.note("C", 2, word >> 14, meaning(PkeCache, word >> 14))
    scribe.unregistered(PkeCache, word >> 14, "C", offset)
    scribe.note("Data len", 2, word & 0x3FFF)
    scribe.octets(word & 0x3FFF, "Data")
    return "envelope key, encrypted with the KMS's public key"


def dh(scribe: Scribe, depth: int) -> str:
    group = scribe.choice(DhGroup, "DH-Group")
    if not is_registered(DhGroup, group):
        raise FaultError("DH-Group", f"unknown group {group}, so of unknown length", scribe.position - 1)
    scribe.octets(DhGroup(group).length, "DH-value")
    octet = scribe.take(1, "KV")[0]
    scribe.note("Reserv", 1, octet >> 4)
    scribe.note("KV", 1, octet & 0xF, meaning(KeyValidityType, octet & 0xF))
    _validity(scribe, octet & 0xF)
    return "Diffie-Hellman value"


def sign(scribe: Scribe, depth: int) -> str:
    offset = scribe.position
    word = int.from_bytes(scribe.take(2, "Signature len"), "big")
    scribe.note("S type", 2, word >> 12, meaning(SignatureType, word >> 12))
    scribe.unregistered(SignatureType, word >> 12, "S type", offset)
    scribe.note("Signature len", 2, word & 0xFFF)
    scribe.octets(word & 0xFFF, "Signature")
    return "signature over the message"


def timestamp(scribe: Scribe, depth: int) -> str:
    scribe.timestamp()
    return "when the message was made"


def role_timestamp(scribe: Scribe, depth: int) -> str:
    role = scribe.choice(TsRole, "TS Role")
    value = scribe.timestamp()
    if role == TsRole.REKEYING and value is not None:
        scribe.nodes[-1].meaning = f"every {value.seconds()} s at the latest"
    return meaning(TsRole, role)


def identity(scribe: Scribe, depth: int) -> str:
    kind = scribe.choice(IdType, "ID Type")
    scribe.counted(2, "ID Data", text=kind != IdType.BYTE_STRING)
    return "identity"


def role_identity(scribe: Scribe, depth: int) -> str:
    role = scribe.choice(IdRole, "ID Role")
    kind = scribe.choice(IdType, "ID Type")
    scribe.counted(2, "ID Data", text=kind != IdType.BYTE_STRING)
    return f"{meaning(IdRole, role)}: {scribe.nodes[-1].value}"


def certificate(scribe: Scribe, depth: int) -> str:
    kind = scribe.choice(CertType, "Cert Type")
    scribe.counted(2, "Certificate", text=kind == CertType.X509V3_URL)
    return "certificate"


def certificate_hash(scribe: Scribe, depth: int) -> str:
    func = scribe.choice(HashFunc, "Hash func")
    if not is_registered(HashFunc, func):
        raise FaultError("Hash func", f"unknown function {func}, so of unknown length", scribe.position - 1)
    scribe.octets(HashFunc(func).length, "Hash")
    return "which of the KMS's certificates was used"


def verification(scribe: Scribe, depth: int) -> str:
    alg = _mac(scribe, "Auth alg", "Ver data")
    return f"MAC over the message, {meaning(MacAlg, alg)}"


_PARAM_VALUES = {
    SrtpParam.ENCR_ALG: SrtpEncrAlg,
    SrtpParam.AUTH_ALG: SrtpAuthAlg,
    SrtpParam.PRF: SrtpPrf,
}
_ON_OFF = (SrtpParam.SRTP_ENCRYPTION, SrtpParam.SRTCP_ENCRYPTION, SrtpParam.SRTP_AUTHENTICATION)


def security_policy(scribe: Scribe, depth: int) -> str:
    number = scribe.number(1, "Policy no")
    protocol = scribe.choice(ProtType, "Prot type")
    with scribe.inside(scribe.number(2, "Policy param length"), "Policy param"):
        while scribe.remaining:
            offset = scribe.position
            kind = scribe.take(1, "Type")[0]
            octets = scribe.take(scribe.take(1, "Length")[0], "Value")
            value = int.from_bytes(octets, "big")
            name = meaning(SrtpParam, kind) if protocol == ProtType.SRTP else "parameter"
            text = ""
            if protocol == ProtType.SRTP and kind in _PARAM_VALUES:
                text = meaning(_PARAM_VALUES[SrtpParam(kind)], value)
            elif protocol == ProtType.SRTP and kind in _ON_OFF:
                text = {0: "off", 1: "on"}.get(value, "neither on nor off")
            scribe.note(f"{kind}: {name}", 2 + len(octets), value if len(octets) <= 4 else octets.hex(), text)
            if protocol == ProtType.SRTP:
                scribe.unregistered(SrtpParam, kind, "SP param type", offset)
    return f"security policy {number}, {meaning(ProtType, protocol)}"


def rand(scribe: Scribe, depth: int) -> str:
    scribe.counted(1, "RAND")
    return "random value"


def role_rand(scribe: Scribe, depth: int) -> str:
    role = scribe.choice(RandRole, "RAND Role")
    scribe.counted(1, "RAND")
    return meaning(RandRole, role)


def error(scribe: Scribe, depth: int) -> str:
    number = scribe.choice(ErrorNo, "Error no")
    if scribe.number(2, "Reserved"):
        scribe.warn("Reserved", "should be 0", scribe.position - 2)
    return meaning(ErrorNo, number)


def _policy(scribe: Scribe, depth: int) -> str:
    kind = scribe.choice(TicketType, "Ticket Type", count=2)
    scribe.number(1, "Subtype")
    scribe.number(1, "Version")
    offset = scribe.position
    word = int.from_bytes(scribe.take(3, "flags"), "big")
    scribe.note("PRF Func", 3, word >> 17, f"{meaning(PrfFunc, word >> 17)}: for forking and the ticket")
    scribe.unregistered(PrfFunc, word >> 17, "PRF Func", offset)
    bits = word >> 5 & 0xFFF
    with scribe.group("flags", text=letters(bits)) as node:
        node.offset = offset
        for flag in TicketFlag:
            name = flag.name or ""
            scribe.note(name, 3, int(bool(bits & flag)), FLAGS[name][0 if bits & flag else 1])
    node.length = 3
    for broken in flag_violations(bits):
        scribe.warn("flags", f"{letters(bits)} break the rule {broken}", offset)
    scribe.note("Res", 3, word & 0x1F)
    length = scribe.number(2, "TP Data length")
    with (
        scribe.group("TP Data", "RFC 6043 section 6.10", "the policy, for all parties"),
        scribe.inside(length, "TP Data"),
    ):
        if depth >= MAX_NESTING:
            raise FaultError("TP Data", f"nested deeper than {MAX_NESTING}", scribe.position)
        chain(scribe, scribe.choice(PayloadType, "First Payload"), depth + 1)
    return meaning(TicketType, kind)


def ticket_policy(scribe: Scribe, depth: int) -> str:
    return f"ticket policy asked for: {_policy(scribe, depth)}"


def ticket(scribe: Scribe, depth: int) -> str:
    text = _policy(scribe, depth)
    length = scribe.number(2, "Ticket Data length")
    _area(scribe, length, "Ticket Data", "RFC 6043 A.1", lambda: _ticket_data(scribe, depth))
    length = scribe.number(2, "Initiator Data length")
    if length:
        _area(
            scribe, length, "Initiator Data", "RFC 6043 section 6.10", lambda: _initiator_data(scribe, depth)
        )
    return text


def _area(scribe: Scribe, length: int, name: str, section: str, describe: Callable[[], None]) -> None:
    """Describe an area; one that is not of the base ticket's form is shown as octets, without a fault."""
    start, warnings = scribe.position, len(scribe.warnings)
    with scribe.group(name, section) as node:
        try:
            with scribe.inside(length, name):
                describe()
        except FaultError as fault:
            if length > scribe.end - start:
                raise
            del scribe.warnings[warnings:]
            scribe.warn(name, f"is not of the base ticket's form: {fault}", fault.finding.offset or start)
            node.children.clear()
            scribe.position = start
            scribe.octets(length, name)


def _ticket_data(scribe: Scribe, depth: int) -> None:
    with scribe.group("THDR", "RFC 6043 A.3", "ticket header"):
        first = scribe.choice(PayloadType, "Next Payload")
        scribe.counted(2, "THDR Data")
    chain(scribe, first, depth + 1)


def _initiator_data(scribe: Scribe, depth: int) -> None:
    chain(scribe, scribe.choice(PayloadType, "First Payload"), depth + 1)


def key_data(scribe: Scribe, depth: int) -> str:
    offset = scribe.position
    octet = scribe.take(1, "Type and KV")[0]
    kind, validity = octet >> 4, octet & 0xF
    scribe.note("Type", 1, kind, meaning(KeyDataType, kind))
    if not is_registered(KeyDataType, kind):
        raise FaultError("Type", f"unknown key type {kind}", offset)
    scribe.note("KV", 1, validity, meaning(KeyValidityType, validity))
    scribe.counted(2, "Key data", secret=True)
    if KeyDataType(kind).has_salt:
        scribe.counted(2, "Salt data", secret=True)
    _validity(scribe, validity)
    return meaning(KeyDataType, kind)


def _validity(scribe: Scribe, validity: int) -> None:
    if validity == KeyValidityType.SPI:
        scribe.counted(1, "SPI")
    elif validity == KeyValidityType.INTERVAL:
        scribe.counted(1, "Valid From")
        scribe.counted(1, "Valid To")
    elif validity != KeyValidityType.NULL:
        raise FaultError("KV", f"unknown key validity {validity}", scribe.position)


def extension(scribe: Scribe, depth: int) -> str:
    kind = scribe.choice(ExtensionType, "Type")
    length = scribe.number(2, "Length")
    if kind != ExtensionType.KEY_ID:
        scribe.octets(length, "Data", text=kind == ExtensionType.SDP_IDS)
        return meaning(ExtensionType, kind)
    with scribe.inside(length, "Data"):
        while scribe.remaining:
            scribe.choice(KeyIdType, "Key ID Type")
            scribe.counted(1, "Key ID")
    return meaning(ExtensionType, kind)


PAYLOADS: dict[int, tuple[str, str, Callable[[Scribe, int], str]]] = {
    PayloadType.KEMAC: ("KEMAC", "RFC 3830 section 6.2, RFC 6043 section 6.2", kemac),
    PayloadType.PKE: ("PKE", "RFC 3830 section 6.3", pke),
    PayloadType.DH: ("DH", "RFC 3830 section 6.4", dh),
    PayloadType.SIGN: ("SIGN", "RFC 3830 section 6.5", sign),
    PayloadType.T: ("T", "RFC 3830 section 6.6, RFC 6043 section 6.3", timestamp),
    PayloadType.ID: ("ID", "RFC 3830 section 6.7", identity),
    PayloadType.CERT: ("CERT", "RFC 3830 section 6.7", certificate),
    PayloadType.CHASH: ("CHASH", "RFC 3830 section 6.8, RFC 6043 section 6.7", certificate_hash),
    PayloadType.V: ("V", "RFC 3830 section 6.9", verification),
    PayloadType.SP: ("SP", "RFC 3830 section 6.10", security_policy),
    PayloadType.RAND: ("RAND", "RFC 3830 section 6.11", rand),
    PayloadType.ERR: ("ERR", "RFC 3830 section 6.12, RFC 6043 section 6.9", error),
    PayloadType.TR: ("TR", "RFC 6043 section 6.4", role_timestamp),
    PayloadType.IDR: ("IDR", "RFC 6043 section 6.6", role_identity),
    PayloadType.RANDR: ("RANDR", "RFC 6043 section 6.8", role_rand),
    PayloadType.TP: ("TP", "RFC 6043 section 6.10", ticket_policy),
    PayloadType.TICKET: ("TICKET", "RFC 6043 section 6.10", ticket),
    PayloadType.KEY_DATA: ("Key data", "RFC 3830 section 6.13, RFC 6043 section 6.2.1", key_data),
    PayloadType.EXT: ("General Extension", "RFC 3830 section 6.15", extension),
}
"""Payload number -> (name, section, what describes the octets after Next Payload)."""
