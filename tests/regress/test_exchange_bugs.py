"""Bugs and gaps of other MIKEY implementations above the encoding: clock, replay, identities, parameters."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.decode.explain.message import explain
from sipmikey.mikey.errors import InvalidTimestamp, NotAuthorized, ReplayedMessage
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import SrtpParam, TsType
from sipmikey.mikey.security_policy import SP, PolicyParam
from sipmikey.mikey.timestamp import T, Timestamp
from sipmikey.sdp import IdentityMismatch
from sipmikey.ticket import ReplayCache
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.transfer import TransferResponder
from sipmikey.vectors.exchange import Rehearsal
from tests.sdp.descriptions import AUDIO
from tests.sdp.parties import ALICE, CAROL, MALLORY, Parties

_NS = 1_000_000_000
VECTORS = Path(__file__).parents[1] / "vectors"
FULL = next(
    vector
    for vector in json.loads((VECTORS / "exchange-full.json").read_text(encoding="utf-8"))["vectors"]
    if vector["name"] == "full-256"
)
TRANSFER_INIT = bytes.fromhex(FULL["messages"]["transfer_init"])
BOB = FULL["identities"]["responder"]

PUBLISHED = (
    "AQAFAP1td9ABAADCD1UcAAAAAAoAAdOOGc75XD0BAAAAGAABAQEBEAIBAQMBFAcBAQgBAQoBAQsBCgAAACcAIQAe"
    "30C59UrClE0e27UP5h/Wty9UL8+dfzg+2ttmmo3kBAAAAC8A"
)
"""An example message of a camera standard, onvif/specs pull request 555: its T is a FILETIME."""


def receive(
    octets: bytes = TRANSFER_INIT, *, now_s: float = FULL["now"], skew_s: int = 300
) -> TransferResponder:
    now_ns = int(now_s * _NS)
    env = Environment(now_ns=lambda: now_ns, random=bytes, clock_skew_s=skew_s)
    return TransferResponder(env, octets, identity=BOB)


def with_timestamp(timestamp: Timestamp) -> bytes:
    message = Message.parse(TRANSFER_INIT)
    payloads = [T(timestamp=timestamp) if isinstance(item, T) else item for item in message.payloads]
    return Message.build(message.header, payloads).raw


class TestClock:
    def test_message_inside_the_window_is_accepted(self):
        receive()
        receive(skew_s=10)

    @pytest.mark.parametrize("hours", [-12, -1, 1, 2, 12])
    def test_local_time_in_the_place_of_utc_is_refused(self, hours):
        # Seen: T filled in with the local time of the machine.
        now = Message.parse(TRANSFER_INIT).one(T).timestamp.unix_ns() + hours * 3600 * _NS
        with pytest.raises(InvalidTimestamp):
            receive(with_timestamp(Timestamp.ntp_utc(now)))

    def test_file_time_in_the_place_of_ntp_is_refused(self):
        file_time = 134_297_280_000_000_000  # 100 ns since 1601: the summer of 2026
        with pytest.raises(InvalidTimestamp):
            receive(with_timestamp(Timestamp(ts_type=TsType.NTP_UTC, value=file_time)))

    def test_unix_time_in_the_place_of_ntp_is_refused(self):
        with pytest.raises(InvalidTimestamp):
            receive(with_timestamp(Timestamp(ts_type=TsType.NTP_UTC, value=FULL["now"] << 32)))

    @pytest.mark.parametrize("offset", [-301, 301])
    def test_edges_of_the_window(self, offset):
        now = FULL["now"]
        with pytest.raises(InvalidTimestamp):
            receive(with_timestamp(Timestamp.ntp_utc((now + offset) * _NS)))
        receive(with_timestamp(Timestamp.ntp_utc((now + offset - (1 if offset > 0 else -1)) * _NS)))

    def test_published_example_is_well_formed_and_its_time_is_wrong(self):
        message = Message.parse(base64.b64decode(PUBLISHED))
        assert Message.build(message.header, message.payloads).raw == message.raw
        now_ns = 1_780_000_000 * _NS
        env = Environment(now_ns=lambda: now_ns, random=bytes)
        with pytest.raises(InvalidTimestamp):
            env.check_timestamp(message.one(T).timestamp, "example")
        assert explain(message.raw).message is not None


def test_the_same_message_twice_inside_the_window_is_refused():
    # Seen: a clock window and no replay cache.
    rehearsal = Rehearsal(FULL)
    cache = ReplayCache(clock_skew_s=300)
    receive().verify(rehearsal.resolved, cache)
    with pytest.raises(ReplayedMessage):
        receive().verify(rehearsal.resolved, cache)


def test_a_message_of_another_than_the_sip_caller_is_refused():
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    with pytest.raises(IdentityMismatch, match=ALICE):
        parties.answerer().receive_offer(offer, sip_caller=MALLORY)


def test_a_message_to_somebody_else_is_refused_in_another_way():
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    # A call may be forwarded, so that IDRr is another does not say enough: the KMS decides who may answer.
    with pytest.raises(NotAuthorized, match=CAROL):
        parties.take(parties.answerer(CAROL), offer, identity=CAROL)


def test_a_tag_length_in_the_place_of_the_key_length_ends_the_set_up():
    # Seen: 4 or 10 in SESSION AUTH KEY LEN, and a dialect grown from it.
    message = Message.parse(bytes.fromhex(FULL["messages"]["transfer_init"]))
    wrong = [
        replace(
            item,
            params=tuple(
                PolicyParam(param_type=param.param_type, value=b"\n")
                if param.param_type == SrtpParam.SESSION_AUTH_KEY_LENGTH
                else param
                for param in item.params
            ),
        )
        if isinstance(item, SP)
        else item
        for item in message.payloads
    ]
    findings = explain(Message.build(message.header, wrong).raw).findings
    assert any("key of 20 bytes" in item.detail for item in findings)
