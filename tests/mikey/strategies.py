"""Hypothesis strategies for payloads and messages."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
from sipmikey.mikey.dh import DH
from sipmikey.mikey.header import GenericIdEntry, Header, SrtpIdEntry
from sipmikey.mikey.identity import ID, IDR
from sipmikey.mikey.kemac import KEMAC, Interval, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RAND, RANDR
from sipmikey.mikey.registry import (
    CertType,
    CsIdMapType,
    DataType,
    DhGroup,
    EncrAlg,
    ErrorNo,
    ExtensionType,
    HashFunc,
    IdRole,
    IdType,
    KeyDataType,
    MacAlg,
    PkeCache,
    PrfFunc,
    ProtType,
    RandRole,
    SignatureType,
    SrtpParam,
    TicketType,
    TsRole,
    TsType,
)
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, PolicyParam
from sipmikey.mikey.ticket import TICKET, TP, TicketFlag, TicketFlags, flag_violations
from sipmikey.mikey.timestamp import TR, T, Timestamp
from sipmikey.mikey.verification import ERR, EXT, V


def octets(maximum: int) -> st.SearchStrategy[bytes]:
    """Few octets, mostly, and the longest that fit, sometimes."""
    few = st.binary(max_size=12)
    return st.one_of(few, few, few, st.integers(0, 255).map(lambda n: bytes((n,)) * maximum))


def number(enum, bits: int = 8):
    """A registered number, or any other."""
    return st.one_of(st.sampled_from(list(enum)), st.integers(0, (1 << bits) - 1)).map(
        lambda value: enum(value) if value in enum._value2member_map_ else value
    )


timestamps = st.sampled_from(list(TsType)).flatmap(
    lambda kind: st.builds(
        Timestamp, ts_type=st.just(kind), value=st.integers(0, (1 << (8 * kind.length)) - 1)
    )
)
intervals = st.builds(Interval, valid_from=octets(255), valid_to=octets(255))
validity: st.SearchStrategy[Any] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"spi": octets(255)}),
    st.fixed_dictionaries({"interval": intervals}),
)
secrets = st.binary(max_size=40).map(Secret)


@st.composite
def key_data(draw) -> KeyData:
    kind = draw(st.sampled_from(list(KeyDataType)))
    salt = draw(secrets) if kind.has_salt else None
    return KeyData(key_type=kind, key=draw(secrets), salt=salt, **draw(validity))


macs = st.sampled_from(list(MacAlg)).flatmap(
    lambda alg: st.tuples(st.just(alg), st.binary(min_size=alg.length, max_size=alg.length))
)
flags = st.sampled_from([TicketFlags(TicketFlag(n)) for n in range(0x1000) if not flag_violations(n)])

kemacs = st.builds(
    lambda encr_alg, data, mac: KEMAC(encr_alg=encr_alg, encr_data=data, mac_alg=mac[0], mac=mac[1]),
    st.sampled_from(list(EncrAlg)),
    octets(0xFFFF),
    macs,
)
hashes = st.sampled_from(list(HashFunc)).flatmap(
    lambda func: st.builds(
        CHASH, hash_func=st.just(func), hash=st.binary(min_size=func.length, max_size=func.length)
    )
)
dh_values = st.builds(
    lambda group, fill, reserved, kv: DH(
        group=group, value=bytes((fill,)) * group.length, reserved=reserved, **kv
    ),
    st.sampled_from(list(DhGroup)),
    st.integers(0, 255),
    st.integers(0, 15),
    validity,
)
policies = st.builds(
    SP,
    policy_no=st.integers(0, 255),
    prot_type=st.one_of(st.just(ProtType.SRTP), st.integers(1, 255)),
    params=st.lists(
        st.builds(PolicyParam, param_type=st.integers(0, 255), value=st.binary(max_size=9)), max_size=6
    ).map(tuple),
).map(
    lambda sp: SP(
        policy_no=sp.policy_no,
        prot_type=sp.prot_type,
        params=tuple(
            PolicyParam(
                param_type=SrtpParam(param.param_type)
                if sp.prot_type == ProtType.SRTP and param.param_type in SrtpParam._value2member_map_
                else param.param_type,
                value=param.value,
            )
            for param in sp.params
        ),
    )
)
verifications = macs.map(lambda mac: V(auth_alg=mac[0], mac=mac[1]))
signatures = st.builds(SIGN, signature_type=number(SignatureType, 4), signature=octets(4095))

simple = {
    "T": st.builds(T, timestamp=timestamps),
    "TR": st.builds(TR, role=number(TsRole), timestamp=timestamps),
    "ID": st.builds(ID, id_type=number(IdType), data=octets(0xFFFF)),
    "IDR": st.builds(IDR, role=number(IdRole), id_type=number(IdType), data=octets(0xFFFF)),
    "RAND": st.builds(RAND, rand=octets(255)),
    "RANDR": st.builds(RANDR, role=number(RandRole), rand=octets(255)),
    "CERT": st.builds(CERT, cert_type=number(CertType), data=octets(0xFFFF)),
    "CHASH": hashes,
    "PKE": st.builds(PKE, cache=number(PkeCache, 2), data=octets(0x3FFF)),
    "KEMAC": kemacs,
    "KEY_DATA": key_data(),
    "DH": dh_values,
    "SP": policies,
    "V": verifications,
    "ERR": st.builds(ERR, error_no=number(ErrorNo), reserved=st.integers(0, 0xFFFF)),
    "EXT": st.builds(EXT, ext_type=number(ExtensionType), data=octets(0xFFFF)),
    "SIGN": signatures,
}
"""One strategy for each payload that contains no others, by name."""

inner = st.lists(
    st.one_of(
        simple["TR"],
        simple["T"],
        st.builds(IDR, role=number(IdRole), id_type=number(IdType), data=st.binary(max_size=40)),
        st.builds(KEMAC, encr_alg=st.sampled_from(list(EncrAlg)), encr_data=st.binary(max_size=40)),
    ),
    max_size=4,
).map(tuple)
"""Payloads of TP Data, short enough that any four fit its length field."""

policy_fields = {
    "ticket_type": number(TicketType, 16),
    "subtype": st.integers(0, 255),
    "version": st.integers(0, 255),
    "prf": st.sampled_from(list(PrfFunc)),
    "flags": flags,
    "res": st.integers(0, 31),
    "payloads": inner,
}
composite = {
    "TP": st.builds(TP, **policy_fields),
    "TICKET": st.builds(
        TICKET, **policy_fields, ticket_data=octets(0xFFFF), initiator_data=st.binary(max_size=40)
    ),
}
every_payload = simple | composite

generic_ids = st.builds(
    GenericIdEntry,
    cs_id=st.integers(0, 255),
    prot_type=st.one_of(st.just(ProtType.SRTP), st.integers(1, 255)),
    s=st.booleans(),
    policies=st.lists(st.integers(0, 255), max_size=5).map(tuple),
    session_data=octets(300),
    spi=octets(255),
)
srtp_ids = st.builds(
    SrtpIdEntry,
    policy_no=st.integers(0, 255),
    ssrc=st.integers(0, 0xFFFF_FFFF),
    roc=st.integers(0, 0xFFFF_FFFF),
)
maps = st.one_of(
    st.integers(0, 64).map(lambda n: {"map_type": CsIdMapType.EMPTY, "empty_map_sessions": n}),
    st.lists(generic_ids, max_size=4).map(
        lambda entries: {"map_type": CsIdMapType.GENERIC_ID, "crypto_sessions": tuple(entries)}
    ),
    st.lists(srtp_ids, max_size=4).map(
        lambda entries: {"map_type": CsIdMapType.SRTP_ID, "crypto_sessions": tuple(entries)}
    ),
)
headers = st.builds(
    lambda data_type, v, prf, csb_id, session_map: Header(
        data_type=data_type, v=v, prf=prf, csb_id=csb_id, **session_map
    ),
    st.sampled_from(list(DataType)),
    st.booleans(),
    st.sampled_from(list(PrfFunc)),
    st.integers(0, 0xFFFF_FFFF),
    maps,
)
small_payloads: st.SearchStrategy[Payload] = st.one_of(
    [strategy for name, strategy in every_payload.items() if name != "SIGN"]
).filter(lambda payload: len(payload.encode_body()) < 2000)  # type: ignore[arg-type]


@st.composite
def messages(draw) -> Message:
    chain = draw(st.lists(small_payloads, max_size=6))
    if draw(st.booleans()):
        chain.append(draw(signatures))
    return Message.build(draw(headers), chain)
