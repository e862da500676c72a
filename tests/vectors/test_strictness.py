"""Rules that need a whole exchange to be broken, beyond the reject vectors."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.keys.suite import SUITE_128
from sipmikey.mikey.errors import (
    InvalidTicket,
    InvalidTicketPolicy,
    LocalError,
    MalformedMessage,
    UnsupportedMac,
    UnsupportedPrf,
)
from sipmikey.mikey.header import Header
from sipmikey.mikey.kemac import KEMAC, encode_key_data
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import CsIdMapType, EncrAlg, MacAlg, PrfFunc, TsRole, TsType
from sipmikey.mikey.ticket import TP, TicketFlags
from sipmikey.mikey.timestamp import TR, Timestamp
from sipmikey.mikey.verification import V
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.vectors.exchange import Rehearsal

DIRECTORY = Path(__file__).parent
sys.path.insert(0, str(DIRECTORY.parents[1] / "tools"))

from vector_forger import Forger  # noqa: E402

VECTORS = {
    vector["name"]: vector
    for path in sorted(DIRECTORY.glob("exchange-*.json"))
    for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
}
FULL, PRESHARED = VECTORS["full-256"], VECTORS["preshared-256"]


def receive(name: str, octets: bytes, vector: dict = FULL) -> object:
    return Rehearsal(vector, replaced={name: octets}).run(name)


def test_forked_tgk_needs_a_response():
    forking = VECTORS["otway-rees-256-forking"]
    octets = Forger(forking).reticketed(flags=TicketFlags.of("EHILNO"))
    ticket = Message.parse(octets)
    assert not ticket.payloads[-2].flags.response_sent  # type: ignore[attr-defined]
    with pytest.raises(InvalidTicketPolicy, match="implies F"):
        Rehearsal(forking, replaced={"transfer_init": octets}).transfer_init_at_kms()


@pytest.mark.parametrize("flags", ["FGHJLN", "FGHJL"])
def test_a_ticket_that_needs_other_processing_is_refused(flags):
    with pytest.raises(InvalidTicket, match="O is 0"):
        receive("transfer_init", Forger(PRESHARED).reticketed(flags=TicketFlags.of(flags)), PRESHARED)


@pytest.mark.parametrize("kind", [TsType.NTP_UTC, TsType.NTP, TsType.COUNTER])
def test_rekeying_interval_of_another_type_is_refused(kind):
    interval = TR(role=TsRole.REKEYING, timestamp=Timestamp(ts_type=kind, value=600))
    octets = Forger(PRESHARED).reticketed(lambda chain: [*chain, interval])
    with pytest.raises(InvalidTicketPolicy, match="NTP-UTC-32"):
        receive("transfer_init", octets, PRESHARED)


def test_rekeying_interval_is_in_seconds():
    interval = TR(role=TsRole.REKEYING, timestamp=Timestamp(ts_type=TsType.NTP_UTC_32, value=600))
    octets = Forger(PRESHARED).reticketed(lambda chain: [*chain, interval])
    assert receive("transfer_init", octets, PRESHARED).policy.rekeying_interval_s == 600  # type: ignore[attr-defined]


def test_granted_policy_has_no_kemac():
    rehearsal = Rehearsal(PRESHARED)
    kemac = KEMAC(encr_alg=EncrAlg.NULL, encr_data=encode_key_data(rehearsal.grant.keys))
    octets = Forger(PRESHARED).reticketed(lambda chain: [*chain, kemac])
    with pytest.raises(InvalidTicketPolicy, match="no KEMAC"):
        receive("transfer_init", octets, PRESHARED)
    asked = TicketPolicy.of(Message.parse(bytes.fromhex(FULL["messages"]["request_init"])).one(TP))
    with pytest.raises(LocalError, match="no KEMAC"):
        asked.ticket(b"")


def test_suites_are_not_mixed():
    forger = Forger(FULL)
    message = forger.message("request_init")
    chain = [*message.payloads[:-1], V(auth_alg=MacAlg.HMAC_SHA_1_160, mac=bytes(20))]
    with pytest.raises(UnsupportedMac, match="does not go with"):
        receive("request_init", Message.build(message.header, chain).raw)
    message = forger.message("transfer_init")
    header = replace(message.header, prf=PrfFunc.MIKEY_1)
    with pytest.raises(UnsupportedPrf, match="different suites"):
        receive("transfer_init", Message.build(header, message.payloads).raw)
    assert SUITE_128.encr_algs.isdisjoint({EncrAlg.AES_CM_256, EncrAlg.NULL})


def test_empty_map_with_a_security_policy_is_refused():
    message = Forger(PRESHARED).message("transfer_init")
    header = Header(
        data_type=message.header.data_type,
        prf=message.header.prf,
        csb_id=message.header.csb_id,
        map_type=CsIdMapType.EMPTY,
    )
    octets = Forger(PRESHARED).sealed("transfer_init", message.payloads, header=header)
    with pytest.raises(MalformedMessage, match="Empty map"):
        receive("transfer_init", octets, PRESHARED)


@pytest.mark.parametrize("count", [1, 64])
def test_empty_map_that_counts_sessions_is_refused(count):
    message = Forger(FULL).message("request_init")
    header = replace(message.header, empty_map_sessions=count)
    octets = Forger(FULL).sealed("request_init", message.payloads, header=header)
    with pytest.raises(MalformedMessage, match="#CS must be 0"):
        receive("request_init", octets)
