"""Values that no message can have are refused where they are made, each with the field at fault."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sipmikey.mikey import (
    SP,
    TICKET,
    KeyData,
    Message,
    Secret,
    SrtpPolicy,
    TicketFlags,
    Timestamp,
)
from sipmikey.mikey.certificate import CHASH, SIGN
from sipmikey.mikey.dh import DH
from sipmikey.mikey.errors import (
    InvalidSecurityPolicy,
    LocalError,
    MalformedMessage,
    UnsupportedSecurityPolicy,
)
from sipmikey.mikey.header import Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, Interval, decode_key_data
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.payload import encode_chain
from sipmikey.mikey.registry import (
    CsIdMapType,
    DataType,
    DhGroup,
    EncrAlg,
    HashFunc,
    IdRole,
    IdType,
    KeyDataType,
    MacAlg,
    PrfFunc,
    SignatureType,
)
from sipmikey.mikey.security_policy import PolicyParam, policies_by_number
from sipmikey.mikey.ticket import decode_initiator_data
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V

KEY = Secret(b"k" * 16)
LONG = Secret(bytes(65_536))
INTERVAL = Interval(valid_from=b"\0", valid_to=b"\1")
EMPTY = Header(
    data_type=DataType.TRANSFER_INIT, v=True, prf=PrfFunc.HMAC_SHA_256, csb_id=1, map_type=CsIdMapType.EMPTY
)

REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    "CHASH": ("SHA_256 hash", lambda: CHASH(hash_func=HashFunc.SHA_256, hash=b"short")),
    "V": ("MAC has", lambda: V(auth_alg=MacAlg.HMAC_SHA_256_256, mac=b"short")),
    "KEMAC": ("MAC has", lambda: KEMAC(encr_alg=EncrAlg.NULL, encr_data=b"", mac=b"m")),
    "DH value": ("octets", lambda: DH(group=DhGroup.OAKLEY_5, value=b"short")),
    "DH validity": (
        "not both",
        lambda: DH(group=DhGroup.OAKLEY_1, value=bytes(96), spi=b"1", interval=INTERVAL),
    ),
    "key": ("65535", lambda: KeyData(key_type=KeyDataType.TGK, key=LONG)),
    "no salt": ("has a salt", lambda: KeyData(key_type=KeyDataType.TGK_SALT, key=KEY)),
    "salt": ("no salt", lambda: KeyData(key_type=KeyDataType.TGK, key=KEY, salt=KEY)),
    "long salt": ("salt has", lambda: KeyData(key_type=KeyDataType.TGK_SALT, key=KEY, salt=LONG)),
    "validity": (
        "not both",
        lambda: KeyData(key_type=KeyDataType.TGK, key=KEY, spi=b"1", interval=INTERVAL),
    ),
    "policy": (
        "length field",
        lambda: SP(policy_no=0, prot_type=0, params=(PolicyParam(param_type=0, value=bytes(255)),) * 256),
    ),
    "SIGN in the midst": (
        "last payload",
        lambda: Message.build(
            EMPTY,
            [SIGN(signature_type=SignatureType.RSA_PSS, signature=b""), T(timestamp=Timestamp.counter(1))],
        ),
    ),
    "a counter as time": ("tells no time", lambda: Timestamp.counter(1).unix_ns()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_does_not_fit_is_refused(name: str) -> None:
    words, make = REFUSED[name]
    with pytest.raises(LocalError, match=words):
        make()


@pytest.mark.parametrize(
    "changed",
    [
        {"session_encr_key_length": 24},
        {"session_salt_length": 14},
        {"aead_tag_length": 8},
    ],
)
def test_aes_gcm_of_other_lengths_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidSecurityPolicy, match="AES-GCM has"):
        replace(SrtpPolicy.aes_gcm(), **changed).check(0)


def test_a_policy_of_another_protocol_is_not_one_of_srtp() -> None:
    with pytest.raises(UnsupportedSecurityPolicy, match="not SRTP"):
        SrtpPolicy.from_payload(SP(policy_no=0, prot_type=5, params=()))


def test_a_prefix_length_is_said_in_the_policy() -> None:
    policy = replace(SrtpPolicy.aes_cm(), prefix_length=4)
    assert SrtpPolicy.from_payload(policy.payload(0)).prefix_length == 4


def test_a_policy_number_may_stand_once() -> None:
    policy = SrtpPolicy.aes_cm().payload(3)
    with pytest.raises(MalformedMessage, match="Policy no 3 is given twice"):
        policies_by_number((policy, policy))


def test_only_keys_stand_in_the_plaintext_of_a_kemac() -> None:
    key = KeyData(key_type=KeyDataType.TGK, key=KEY)
    other = IDR(role=IdRole.INITIATOR, id_type=IdType.URI, data=b"sip:a@example.com")
    with pytest.raises(MalformedMessage, match="only key data"):
        decode_key_data(encode_chain([key, other])[1], DEFAULT_LIMITS)


def test_initiator_data_is_not_empty() -> None:
    with pytest.raises(MalformedMessage, match="is empty"):
        decode_initiator_data(b"", DEFAULT_LIMITS)


def test_without_a_ticket_there_is_no_initiator_data_to_leave_out() -> None:
    message = Message.build(EMPTY, [T(timestamp=Timestamp.counter(1))])
    assert message.without_initiator_data() == message.raw


def test_a_message_with_a_ticket_leaves_its_initiator_data_out() -> None:
    flags = TicketFlags.of("DEFGHINO")
    ticket = TICKET(
        ticket_type=1, subtype=1, version=1, prf=PrfFunc.HMAC_SHA_256, flags=flags, payloads=(),
        ticket_data=b"data", initiator_data=b"mine",
    )  # fmt: skip
    message = Message.build(EMPTY, [ticket])
    assert b"mine" not in message.without_initiator_data()
    assert b"data" in message.without_initiator_data()


def test_a_secret_is_equal_to_secrets_only_and_is_not_pickled() -> None:
    assert KEY != b"k" * 16
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(KEY)
