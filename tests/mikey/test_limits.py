"""No input makes the codec loop, recurse or allocate beyond its limits."""

from __future__ import annotations

import pytest

from sipmikey.mikey.certificate import CERT
from sipmikey.mikey.errors import LimitExceeded, MalformedMessage
from sipmikey.mikey.header import Header
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RAND
from sipmikey.mikey.registry import CertType, CsIdMapType, DataType, PrfFunc, ProtType
from sipmikey.mikey.security_policy import SP, PolicyParam
from sipmikey.mikey.ticket import TP, TicketFlags

HEADER = Header(data_type=DataType.ERROR, prf=PrfFunc.MIKEY_1, csb_id=0, map_type=CsIdMapType.EMPTY)


def policy(*payloads) -> TP:
    return TP(prf=PrfFunc.MIKEY_1, flags=TicketFlags.of("DEFGHJNO"), payloads=payloads)


CASES = {
    "payloads": (RAND(rand=b""),) * 5,
    "certificates": (CERT(cert_type=CertType.X509V3, data=b""),) * 5,
    "policy_parameters": (
        SP(policy_no=0, prot_type=ProtType.SRTP, params=(PolicyParam(param_type=9, value=b""),) * 5),
    ),
    "nesting": (policy(policy(policy(policy(policy())))),),
}


@pytest.mark.parametrize("limit", CASES)
def test_one_more_than_the_limit_is_refused(limit):
    raw = Message.build(HEADER, CASES[limit]).raw  # type: ignore[arg-type]
    Message.parse(raw, Limits(**{limit: 5}))
    with pytest.raises(LimitExceeded) as refusal:
        Message.parse(raw, Limits(**{limit: 4}))
    assert refusal.value.offset is not None
    assert refusal.value.http_status == 413


def test_message_size():
    raw = Message.build(HEADER, (RAND(rand=bytes(100)),)).raw
    Message.parse(raw, Limits(message_bytes=len(raw)))
    with pytest.raises(LimitExceeded):
        Message.parse(raw, Limits(message_bytes=len(raw) - 1))


def test_payload_limit_holds_inside_tp_data_too():
    raw = Message.build(HEADER, (policy(*(RAND(rand=b""),) * 5),)).raw
    with pytest.raises(LimitExceeded, match="TP Data"):
        Message.parse(raw, Limits(payloads=4))


def test_default_limits_stop_the_deepest_message_that_fits():
    nested = policy()
    while len(nested.encode_body()) < 2_000:
        nested = policy(nested)
    with pytest.raises(LimitExceeded, match="nested"):
        Message.parse(Message.build(HEADER, (nested,)).raw)


def test_chain_of_empty_ticket_policies_of_64_kilobytes():
    octets = b"\x00"
    body = policy().encode_body()[:7]
    while len(octets) < 60_000:
        octets = b"\x10\x00" + body + len(octets).to_bytes(2, "big") + octets
    raw = Message.build(HEADER, ()).raw[:2] + octets[:1] + Message.build(HEADER, ()).raw[3:] + octets[1:]
    with pytest.raises((LimitExceeded, MalformedMessage)):
        Message.parse(raw)
