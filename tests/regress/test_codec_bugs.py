"""Bugs found in other MIKEY implementations: one test each that ours does not have it.

The comments name the kind of bug, not the project.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import pytest

from sipmikey.keys.prf import Prf
from sipmikey.mikey.certificate import CERT, PKE, SIGN
from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import (
    InvalidSecurityPolicy,
    LimitExceeded,
    LocalError,
    MalformedMessage,
    PeerError,
)
from sipmikey.mikey.header import GenericIdEntry, Header, SrtpIdEntry
from sipmikey.mikey.identity import ID, IDR
from sipmikey.mikey.kemac import KEMAC, Interval, KeyData
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import decode_chain, encode_chain
from sipmikey.mikey.rand import RAND, RANDR
from sipmikey.mikey.registry import (
    CertType,
    CsIdMapType,
    DataType,
    EncrAlg,
    ExtensionType,
    IdRole,
    IdType,
    KeyDataType,
    KeyValidityType,
    PrfFunc,
    ProtType,
    RandRole,
    SignatureType,
    SrtpParam,
    TsType,
)
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, PolicyParam, SrtpPolicy
from sipmikey.mikey.timestamp import NTP_EPOCH_S, T, Timestamp
from sipmikey.mikey.verification import EXT

LIMITS = Limits(crypto_sessions=255, message_bytes=1 << 20)


def header(map_type: CsIdMapType = CsIdMapType.EMPTY, sessions=(), **options) -> Header:
    return Header(
        data_type=DataType.TRANSFER_INIT, prf=PrfFunc.MIKEY_1, csb_id=1, map_type=map_type,
        crypto_sessions=sessions, **options,
    )  # fmt: skip


class CountingReader(Reader):
    """A reader that counts how often it is asked."""

    calls = 0

    def u8(self, field: str) -> int:
        CountingReader.calls += 1
        return super().u8(field)


@pytest.mark.parametrize("number", range(256))
def test_parse_loop_makes_progress_on_every_payload_number(number):
    # Seen: a loop that neither advances nor fails on a payload it does not know.
    CountingReader.calls = 0
    octets = bytes((number,)) * 200
    with pytest.raises(PeerError):
        decode_chain(number or 5, CountingReader(octets), LIMITS, "message")
    assert CountingReader.calls <= 3 * len(octets)


@pytest.mark.parametrize("count", [0, 1, 2, 255])
@pytest.mark.parametrize("map_type", list(CsIdMapType))
def test_number_of_sessions_and_map_agree(map_type, count):
    # Seen: a map of no octets whatever #CS says; one block read whatever #CS says.
    entries = {
        CsIdMapType.SRTP_ID: tuple(SrtpIdEntry(policy_no=0, ssrc=n, roc=0) for n in range(count)),
        CsIdMapType.GENERIC_ID: tuple(GenericIdEntry(cs_id=n, spi=b"\1") for n in range(count)),
        CsIdMapType.EMPTY: (),
    }[map_type]
    extra = {"empty_map_sessions": count} if map_type is CsIdMapType.EMPTY else {}
    message = Message.build(header(map_type, entries, **extra), (RAND(rand=b"r"),))
    assert Message.parse(message.raw, LIMITS) == message
    if map_type is not CsIdMapType.EMPTY and count:
        for claimed in {count - 1, min(count + 1, 255)} - {count}:
            damaged = message.raw[:8] + bytes((claimed,)) + message.raw[9:]
            with pytest.raises(PeerError):
                Message.parse(damaged, LIMITS)


def test_no_sessions_and_map_octets_all_the_same():
    # Seen: #CS 0 followed by a block that the sender's own reader expects.
    raw = Message.build(header(CsIdMapType.GENERIC_ID), ()).raw
    with pytest.raises(MalformedMessage):
        Message.parse(raw + GenericIdEntry(cs_id=1).encode())


@pytest.mark.parametrize("tail", [b"\0", b"\1", b"\0\0", b"\xff" * 3, bytes(100)])
def test_trailing_octets_are_refused(tail):
    # Seen: one extra octet, or any number of zeros, accepted.
    message = Message.build(header(), (RAND(rand=b"r"),))
    with pytest.raises(MalformedMessage, match="after the last payload"):
        Message.parse(message.raw + tail)


def test_truncated_field_is_not_filled_up_with_zeros():
    # Seen: short T, RAND and SIGN padded with zeros and accepted.
    chain = (
        T(timestamp=Timestamp.ntp_utc(0)),
        RAND(rand=bytes(16)),
        SIGN(signature_type=SignatureType.RSA_PKCS1, signature=bytes(64)),
    )
    raw = Message.build(header(), chain).raw
    for cut in range(len(raw)):
        with pytest.raises(MalformedMessage):
            Message.parse(raw[:cut])


@pytest.mark.parametrize(("kind", "validity"), list(itertools.product(range(16), range(16))))
def test_key_type_and_validity_nibbles(kind, validity):
    # Seen: types folded onto one another; both nibbles not packed into one octet.
    octets = bytearray(bytes.fromhex("00 00 0002 abcd"))
    octets[1] = kind << 4 | validity
    if kind in KeyDataType._value2member_map_ and KeyDataType(kind).has_salt:
        octets += bytes.fromhex("0001 ee")
    octets += {KeyValidityType.SPI: b"\1\x55", KeyValidityType.INTERVAL: b"\1\2\1\3"}.get(validity, b"")
    known = kind in KeyDataType._value2member_map_ and validity in KeyValidityType._value2member_map_
    if not known:
        with pytest.raises(MalformedMessage):
            decode_chain(20, Reader(bytes(octets)), LIMITS, "KEMAC")
        return
    (key,), _ = decode_chain(20, Reader(bytes(octets)), LIMITS, "KEMAC")
    assert (key.key_type, key.validity_type) == (kind, validity)  # type: ignore[attr-defined]
    assert encode_chain([key])[1] == octets


EDGES = (0, 1, 127, 128, 255, 256, 1023, 1024, 4095, 16383, 32767, 32768, 65535)


@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize(
    ("maximum", "make"),
    [
        (65535, lambda octets: KEMAC(encr_alg=EncrAlg.NULL, encr_data=octets)),
        (16383, lambda octets: PKE(data=octets)),
        (4095, lambda octets: SIGN(signature_type=SignatureType.RSA_PSS, signature=octets)),
        (65535, lambda octets: CERT(cert_type=CertType.X509V3, data=octets)),
        (65535, lambda octets: ID(id_type=IdType.URI, data=octets)),
        (65535, lambda octets: IDR(role=IdRole.KMS, id_type=IdType.URI, data=octets)),
        (255, lambda octets: RAND(rand=octets)),
        (255, lambda octets: RANDR(role=RandRole.RESPONDER, rand=octets)),
        (65535, lambda octets: EXT(ext_type=ExtensionType.VENDOR_ID, data=octets)),
        (65535, lambda octets: KeyData(key_type=KeyDataType.TGK, key=Secret(octets))),
        (65535, lambda octets: KeyData(key_type=KeyDataType.TGK_SALT, key=Secret(b""), salt=Secret(octets))),
        (255, lambda octets: KeyData(key_type=KeyDataType.TGK, key=Secret(b""), spi=octets)),
        (
            255,
            lambda octets: KeyData(
                key_type=KeyDataType.TGK, key=Secret(b""),
                interval=Interval(valid_from=octets, valid_to=octets),
            ),
        ),
    ],
)  # fmt: skip
def test_length_fields_at_their_edges(maximum, make, length):
    # Seen: a length field that is always 1; masked to 10 of its 14 bits; read as a signed number.
    octets = bytes((length & 0xFF,)) * length
    if length > maximum:
        with pytest.raises(LocalError):
            make(octets)
        return
    payload = make(octets)
    first, encoded = encode_chain([payload])
    assert decode_chain(first, Reader(encoded), LIMITS, "message")[0] == (payload,)


@pytest.mark.parametrize("prf", list(PrfFunc))
@pytest.mark.parametrize("inkey", [16, 31, 32, 33, 63, 64, 65, 192])
@pytest.mark.parametrize("outkey", [14, 20, 21, 32, 33, 46, 64, 65])
def test_every_octet_of_the_inkey_and_label_reaches_every_block_of_the_outkey(prf, inkey, outkey):
    # Seen: a key of 32 octets that had no influence at all; output blocks that feed back the wrong value;
    # only the first block of the key used.
    key, label = bytes(range(inkey)), b"constant and label"
    first = Prf(prf, Secret(key)).derive(label, 8 * outkey).reveal()
    assert len(first) == outkey
    for at in range(inkey):
        changed = bytearray(key)
        changed[at] ^= 1
        other = Prf(prf, Secret(bytes(changed))).derive(label, 8 * outkey).reveal()
        assert all(first[n : n + 8] != other[n : n + 8] for n in range(0, outkey - 7, 8))
    assert Prf(prf, Secret(key)).derive(label[:-1], 8 * outkey).reveal() != first
    assert Prf(prf, Secret(key)).derive(label, 8 * outkey + 64).reveal()[:outkey] == first


OUTSIDE = [
    ("05a85c16", 4, "15798cef", 16, "3924935940c154ccbc3c2ad05c8f5181"),
    ("05a85c16", 4, "39a2c14b", 12, "1725869b80f370cc9f24e13b"),
    ("05a85c16", 0, "15798cef", 16, "f17c80a8d2f9befa47cf712603d7229a"),
    ("05a85c16", 0, "39a2c14b", 12, "c3b7b561a291a1d3abef482b"),
    ("0633f457", 4, "2ad01c64", 16, "59aaa49ebb54813602b7cc165961b4e8"),
    ("0633f457", 4, "39a2c14b", 12, "745eb4df7d155c473114a799"),
]


@pytest.mark.parametrize(("csb_id", "cs_id", "constant", "length", "expected"), OUTSIDE)
def test_prf_gives_published_numbers(csb_id, cs_id, constant, length, expected):
    # The values are those of a public MIKEY-SAKKE suite (sw_mikey_sakke, test_key_deriv): labels of
    # RFC 3830 section 4.1.3 with PRF-HMAC-SHA-256.
    tgk = Secret(bytes.fromhex("a27b7d578eeb9b1ee7705e385996d300"))
    rand = bytes.fromhex("4339f62f55aac86348846a482c893802")
    label = bytes.fromhex(constant) + bytes((cs_id,)) + bytes.fromhex(csb_id) + rand
    assert Prf(PrfFunc.HMAC_SHA_256, tgk).derive(label, 8 * length).reveal().hex() == expected


def test_verification_is_never_a_value_that_can_be_dropped():
    # Seen: the result of a signature check thrown away. Ours raise, so none may return a bool.
    found = []
    for room in ("keys", "ticket"):
        directory = Path(importlib.util.find_spec(f"sipmikey.{room}").origin).parent  # type: ignore[arg-type, union-attr]
        for path in directory.rglob("*.py"):
            text = path.read_text(encoding="utf-8").replace("\n", " ")
            for definition in text.split("def ")[1:]:
                name, _, rest = definition.partition("(")
                result = rest.partition("->")[2].partition(":")[0].strip()
                if ("verify" in name or "check" in name or "authenticate" in name) and result == "bool":
                    found.append(f"{path.name}: {name}")
    assert found == []


@pytest.mark.parametrize(
    ("param", "value", "fault"),
    [
        (SrtpParam.SESSION_AUTH_KEY_LENGTH, 10, "HMAC-SHA-1 has a key of 20"),
        (SrtpParam.SESSION_AUTH_KEY_LENGTH, 4, "HMAC-SHA-1 has a key of 20"),
        (SrtpParam.AUTH_TAG_LENGTH, 80, "tag"),
        (SrtpParam.SESSION_ENCR_KEY_LENGTH, 128, "16, 24 or 32"),
        (SrtpParam.SESSION_SALT_LENGTH, 112, "salt"),
        (SrtpParam.ENCR_ALG, 3, "3"),
        (SrtpParam.AUTH_ALG, 2, "2"),
        (SrtpParam.PRF, 1, "1"),
        (SrtpParam.SRTP_ENCRYPTION, 2, "SRTP_ENCRYPTION"),
        (SrtpParam.SRTCP_ENCRYPTION, 255, "SRTCP_ENCRYPTION"),
        (SrtpParam.SRTP_AUTHENTICATION, 2, "SRTP_AUTHENTICATION"),
        (SrtpParam.FEC_ORDER, 1, "1"),
    ],
)
def test_policy_parameter_that_means_something_else(param, value, fault):
    # Seen: the tag length in the parameter of the key length; lengths in bits.
    params = tuple(
        PolicyParam(
            param_type=item.param_type, value=bytes((value,)) if item.param_type == param else item.value
        )
        for item in SrtpPolicy.aes_cm(16).params()
    )
    if param not in {item.param_type for item in params}:
        params += (PolicyParam(param_type=param, value=bytes((value,))),)
    with pytest.raises(InvalidSecurityPolicy, match=fault):
        SrtpPolicy.from_payload(SP(policy_no=0, prot_type=ProtType.SRTP, params=params))


@pytest.mark.parametrize("policy", [SrtpPolicy.aes_cm(16), SrtpPolicy.aes_cm(32), SrtpPolicy.aes_gcm(32)])
def test_policy_says_each_parameter_in_its_own_place(policy):
    said = {item.param_type: int.from_bytes(item.value, "big") for item in policy.params()}
    assert said[SrtpParam.SESSION_ENCR_KEY_LENGTH] == policy.session_encr_key_length
    assert said[SrtpParam.SESSION_SALT_LENGTH] == policy.session_salt_length
    if policy.is_aead:
        assert said[SrtpParam.AEAD_TAG_LENGTH] == 16
    else:
        assert said[SrtpParam.SESSION_AUTH_KEY_LENGTH] == 20
        assert said[SrtpParam.AUTH_TAG_LENGTH] == policy.auth_tag_length
    assert SrtpPolicy.from_payload(policy.payload(0)) == policy


@pytest.mark.parametrize(
    ("offset", "values"),
    [(0, (0, 2, 255)), (1, (10, 19, 26, 255)), (3, (2, 0x7F, 0xFF)), (9, (3, 4, 255))],
    ids=["version", "data type", "PRF func", "map type"],
)
def test_header_fields_are_checked_before_anything_is_done_with_them(offset, values):
    # Seen: version, data type, PRF and map type not looked at.
    raw = bytearray(Message.build(header(), (RAND(rand=b"r"),)).raw)
    for value in values:
        raw[offset] = value
        with pytest.raises(PeerError):
            Message.parse(bytes(raw))


def test_timestamps_of_both_eras():
    # Seen: NTP read as another epoch; the year 2036.
    year_2026 = 1_780_000_000
    year_2040 = 2_208_988_800
    for seconds in (0, year_2026, year_2040, (1 << 32) - NTP_EPOCH_S - 1, (1 << 32) - NTP_EPOCH_S):
        assert Timestamp.ntp_utc(seconds * 10**9).unix_ns() == seconds * 10**9
        assert Timestamp.ntp_utc_32(seconds).unix_ns() == seconds * 10**9
    assert Timestamp.ntp_utc(year_2040 * 10**9).value >> 32 < 1 << 31


def test_a_file_time_is_a_time_far_from_now():
    # Seen: a FILETIME sent as NTP. It is well-formed, so only the clock check can refuse it.
    value = int.from_bytes(bytes.fromhex("01d38e19cef95c3d"), "big")
    timestamp = Timestamp(ts_type=TsType.NTP_UTC, value=value)
    year_2018 = 1_516_000_000
    assert abs(timestamp.unix_ns() - year_2018 * 10**9) > 10 * 365 * 86_400 * 10**9


def test_message_beyond_the_limit_is_refused_before_it_is_read():
    with pytest.raises(LimitExceeded):
        Message.parse(bytes(70_000))
