"""What holds for every payload and message: same octets back, and only typed refusals."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import MalformedMessage, PeerError
from sipmikey.mikey.kemac import decode_key_data, encode_key_data
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import PAYLOAD_CLASSES, decode_chain, encode_chain
from sipmikey.mikey.registry import PayloadType
from sipmikey.mikey.ticket import THDR, TICKET, TP, decode_ticket_data, encode_ticket_data
from sipmikey.mikey.verification import KeyId, key_id_extension, key_ids, sdp_ids, sdp_ids_extension

from . import strategies

LIMITS = Limits(crypto_sessions=255, payloads=255, message_bytes=1 << 20)


def test_there_is_a_strategy_for_every_payload():
    assert set(strategies.every_payload) == {cls.payload_type.name for cls in PAYLOAD_CLASSES.values()}


@pytest.mark.parametrize("name", sorted(strategies.every_payload))
class TestPayload:
    @given(data=st.data())
    @settings(max_examples=60)
    def test_parses_to_what_was_encoded(self, name, data):
        payload = data.draw(strategies.every_payload[name])
        body = payload.encode_body()
        reader = Reader(body)
        parsed = type(payload).decode_body(reader, LIMITS)
        reader.finish(name)
        assert parsed == payload
        assert parsed.encode_body() == body

    @given(data=st.data())
    @settings(max_examples=60)
    def test_every_truncation_is_refused_with_field_and_offset(self, name, data):
        payload = data.draw(strategies.every_payload[name])
        first, octets = encode_chain([payload])
        # Whatever is cut, a length field then promises more than there is.
        cut = data.draw(st.integers(0, len(octets) - 1))
        with pytest.raises(MalformedMessage) as refusal:
            decode_chain(first, Reader(octets[:cut]), LIMITS, "message")
        assert refusal.value.field
        assert refusal.value.offset is not None
        assert 0 <= refusal.value.offset <= cut

    @given(data=st.data())
    @settings(max_examples=30)
    def test_every_octet_after_it_is_refused_with_its_offset(self, name, data):
        payload = data.draw(strategies.every_payload[name])
        first, octets = encode_chain([payload])
        extra = data.draw(st.binary(min_size=1, max_size=9))
        with pytest.raises(MalformedMessage) as refusal:
            decode_chain(first, Reader(octets + extra), LIMITS, "message")
        assert refusal.value.offset == len(octets)


@given(strategies.messages())
def test_message_encodes_to_the_octets_it_was_parsed_from(message):
    parsed = Message.parse(message.raw, LIMITS)
    assert parsed == message
    assert Message.build(parsed.header, parsed.payloads).raw == message.raw


@given(strategies.messages())
def test_offsets_point_at_the_payloads(message):
    following = message.raw[2]
    for payload, offset in zip(message.payloads, message.offsets, strict=True):
        assert following == payload.payload_type
        if payload.payload_type != PayloadType.SIGN:
            following = message.raw[offset]
            offset += 1
        body = payload.encode_body()
        assert message.raw[offset : offset + len(body)] == body


@given(strategies.messages(), st.data())
def test_every_truncation_of_a_message_is_refused(message, data):
    cut = data.draw(st.integers(0, len(message.raw) - 1))
    with pytest.raises(MalformedMessage) as refusal:
        Message.parse(message.raw[:cut], LIMITS)
    assert refusal.value.field
    assert refusal.value.offset is not None


@given(strategies.messages(), st.binary(min_size=1, max_size=20))
def test_every_trailing_octet_is_refused(message, extra):
    with pytest.raises(MalformedMessage):
        Message.parse(message.raw + extra, LIMITS)


@given(strategies.messages(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_damage_gives_the_same_octets_back_or_a_typed_refusal(message, data):
    octets = bytearray(message.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = Message.parse(bytes(octets))
    except PeerError:
        return
    assert Message.build(parsed.header, parsed.payloads).raw == octets


@given(st.binary(max_size=300))
def test_any_octets_at_all_give_a_message_or_a_typed_refusal(octets):
    try:
        parsed = Message.parse(octets)
    except PeerError:
        return
    assert Message.build(parsed.header, parsed.payloads).raw == octets


@given(st.lists(strategies.key_data(), max_size=5).map(tuple))
def test_key_data_of_a_kemac(keys):
    assert decode_key_data(encode_key_data(keys), LIMITS) == keys


@given(st.binary(max_size=60))
def test_any_plaintext_of_a_kemac_gives_keys_or_a_typed_refusal(plaintext):
    try:
        keys = decode_key_data(plaintext, LIMITS)
    except PeerError:
        return
    assert encode_key_data(keys) == plaintext


@given(st.one_of(*strategies.composite.values()))
def test_ticket_policy_made_anew_from_its_parts_has_the_same_octets(payload):
    parsed = type(payload).decode_body(Reader(payload.encode_body()), LIMITS)
    parts = {
        name: getattr(parsed, name)
        for name in ("ticket_type", "subtype", "version", "prf", "flags", "res", "payloads")
    }
    if isinstance(parsed, TICKET):
        parts |= {"ticket_data": parsed.ticket_data, "initiator_data": parsed.initiator_data}
    assert isinstance(parsed, TP | TICKET)
    assert type(parsed)(**parts).encode_body() == payload.encode_body()


@given(strategies.octets(0xFFFF), strategies.inner)
def test_ticket_data(data, payloads):
    octets = encode_ticket_data(THDR(data=data), payloads)
    header, parsed, offsets = decode_ticket_data(octets, LIMITS, base=7)
    assert (header.data, parsed) == (data, payloads)
    assert all(offset >= 7 + 3 + len(data) for offset in offsets)


@given(
    st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1), min_size=1, max_size=4).map(tuple)
)
def test_sdp_ids_extension(identifiers):
    assert sdp_ids(sdp_ids_extension(identifiers)) == identifiers


@given(st.lists(st.builds(KeyId, key_id_type=st.integers(3, 255), key_id=strategies.octets(255)), max_size=4))
def test_key_id_extension(identifiers):
    assert key_ids(key_id_extension(tuple(identifiers))) == tuple(identifiers)
