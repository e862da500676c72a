"""Each payload's encoding, written out by hand from the figures of the RFCs: octets <-> object."""

from __future__ import annotations

from itertools import pairwise

import pytest

from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.dh import DH
from sipmikey.mikey.errors import MalformedMessage
from sipmikey.mikey.identity import ID, IDR
from sipmikey.mikey.kemac import KEMAC, Interval, KeyData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.payload import PAYLOAD_CLASSES, decode_chain, encode_chain
from sipmikey.mikey.rand import RAND, RANDR
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
    MacAlg,
    PayloadType,
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
from sipmikey.mikey.ticket import TICKET, TP, TicketFlags
from sipmikey.mikey.timestamp import TR, T, Timestamp
from sipmikey.mikey.verification import ERR, EXT, V

KEY = bytes(range(16))
SALT = bytes(range(0x20, 0x2E))

# (name, payload number, octets with a space between fields and "00" for Next Payload where it has one,
#  the object, {offset: field that stands there})
CASES = [
    (
        "KEMAC, AES-CM-128, no MAC (RFC 3830 section 6.2)", 1, "00 01 0003 aabbcc 00",
        KEMAC(encr_alg=EncrAlg.AES_CM_128, encr_data=b"\xaa\xbb\xcc"),
        {1: "Encr alg", 2: "Encr data len", 4: "Encr data", 7: "Mac alg"},
    ),
    (
        "KEMAC, NULL, HMAC-SHA-1-160", 1, "00 00 0000 01 " + "5a" * 20,
        KEMAC(encr_alg=EncrAlg.NULL, encr_data=b"", mac_alg=MacAlg.HMAC_SHA_1_160, mac=b"\x5a" * 20),
        {4: "Mac alg", 5: "MAC"},
    ),
    (
        "KEMAC, AES-CM-256, HMAC-SHA-256-256 (RFC 6043 section 6.2)", 1, "00 03 0001 ee 02 " + "a5" * 32,
        KEMAC(
            encr_alg=EncrAlg.AES_CM_256, encr_data=b"\xee", mac_alg=MacAlg.HMAC_SHA_256_256, mac=b"\xa5" * 32
        ),
        {},
    ),
    (
        "PKE, no cache (RFC 3830 section 6.3)", 2, "00 0004 deadbeef",
        PKE(cache=PkeCache.NO_CACHE, data=b"\xde\xad\xbe\xef"), {1: "PKE Data len", 3: "PKE Data"},
    ),
    ("PKE, cache", 2, "00 4001 ff", PKE(cache=PkeCache.CACHE, data=b"\xff"), {}),
    ("PKE, cache for CSB", 2, "00 8000", PKE(cache=PkeCache.CACHE_FOR_CSB, data=b""), {}),
    (
        "DH, OAKLEY 1, KV null (RFC 3830 section 6.4)", 3, "00 01 " + "77" * 96 + " 00",
        DH(group=DhGroup.OAKLEY_1, value=b"\x77" * 96), {1: "DH-Group", 2: "DH-value", 98: "KV"},
    ),
    (
        "DH, OAKLEY 2, SPI", 3, "00 02 " + "78" * 128 + " 01 02 abcd",
        DH(group=DhGroup.OAKLEY_2, value=b"\x78" * 128, spi=b"\xab\xcd"), {130: "KV", 131: "SPI Length"},
    ),
    (
        "SIGN, RSA/PKCS#1/1.5: no Next Payload (RFC 3830 section 6.5)", 4, "0003 112233",
        SIGN(signature_type=SignatureType.RSA_PKCS1, signature=b"\x11\x22\x33"),
        {0: "Signature len", 2: "Signature"},
    ),
    (
        "SIGN, RSA/PSS", 4, "1001 44",
        SIGN(signature_type=SignatureType.RSA_PSS, signature=b"\x44"), {},
    ),
    (
        "T, NTP-UTC (RFC 3830 section 6.6)", 5, "00 00 e8f4a2c100000080",
        T(timestamp=Timestamp(ts_type=TsType.NTP_UTC, value=0xE8F4A2C100000080)),
        {1: "TS type", 2: "TS value"},
    ),
    (
        "T, NTP", 5, "00 01 0000000000000001",
        T(timestamp=Timestamp(ts_type=TsType.NTP, value=1)), {},
    ),
    ("T, COUNTER", 5, "00 02 00000007", T(timestamp=Timestamp(ts_type=TsType.COUNTER, value=7)), {}),
    (
        "T, NTP-UTC-32 (RFC 6043 section 6.3)", 5, "00 03 e8f4a2c1",
        T(timestamp=Timestamp(ts_type=TsType.NTP_UTC_32, value=0xE8F4A2C1)), {},
    ),
    (
        "ID, NAI (RFC 3830 section 6.7)", 6, "00 00 0003 614062", ID(id_type=IdType.NAI, data=b"a@b"),
        {1: "ID Type", 2: "ID len", 4: "ID Data"},
    ),
    (
        "CERT, X.509v3 (RFC 3830 section 6.7)", 7, "00 00 0002 3000",
        CERT(cert_type=CertType.X509V3, data=b"0\0"),
        {1: "Cert Type", 2: "Cert len", 4: "Certificate"},
    ),
    (
        "CERT, URL", 7, "00 01 0008 687474703a2f2f78",
        CERT(cert_type=CertType.X509V3_URL, data=b"http://x"), {},
    ),
    (
        "CHASH, SHA-1 (RFC 3830 section 6.8)", 8, "00 00 " + "01" * 20,
        CHASH(hash_func=HashFunc.SHA_1, hash=b"\1" * 20), {1: "Hash func", 2: "Hash"},
    ),
    ("CHASH, MD5", 8, "00 01 " + "02" * 16, CHASH(hash_func=HashFunc.MD5, hash=b"\2" * 16), {}),
    (
        "CHASH, SHA-256 (RFC 6043 section 6.7)", 8, "00 02 " + "03" * 32,
        CHASH(hash_func=HashFunc.SHA_256, hash=b"\3" * 32), {},
    ),
    ("V, NULL (RFC 3830 section 6.9)", 9, "00 00", V(auth_alg=MacAlg.NULL, mac=b""), {1: "Auth alg"}),
    (
        "V, HMAC-SHA-1-160", 9, "00 01 " + "04" * 20,
        V(auth_alg=MacAlg.HMAC_SHA_1_160, mac=b"\4" * 20), {2: "Ver data"},
    ),
    (
        "V, HMAC-SHA-256-256 (RFC 6043 section 6.2)", 9, "00 02 " + "05" * 32,
        V(auth_alg=MacAlg.HMAC_SHA_256_256, mac=b"\5" * 32), {},
    ),
    (
        "SP, SRTP, two parameters (RFC 3830 section 6.10)", 10, "00 03 00 0006 00 01 01 0b 01 0a",
        SP(
            policy_no=3, prot_type=ProtType.SRTP,
            params=(
                PolicyParam(param_type=SrtpParam.ENCR_ALG, value=b"\1"),
                PolicyParam(param_type=SrtpParam.AUTH_TAG_LENGTH, value=b"\n"),
            ),
        ),
        {
            1: "Policy no", 2: "Prot type", 3: "Policy param length",
            # The length field promises octets, so what is cut off them is missed as a whole.
            5: "Policy param", 6: "Policy param", 10: "Policy param",
        },
    ),
    (
        "SP, another protocol", 10, "00 00 09 0002 ff 00",
        SP(policy_no=0, prot_type=9, params=(PolicyParam(param_type=255, value=b""),)), {},
    ),
    (
        "RAND (RFC 3830 section 6.11)", 11, "00 04 01020304", RAND(rand=b"\1\2\3\4"),
        {1: "RAND length", 2: "RAND"},
    ),
    (
        "ERR, Auth failure (RFC 3830 section 6.12)", 12, "00 00 0000", ERR(error_no=ErrorNo.AUTH_FAILURE),
        {1: "Error no", 2: "Reserved"},
    ),
    (
        "ERR, Invalid TPpar, reserved bits (RFC 6043 section 6.9)", 12, "00 0f 8001",
        ERR(error_no=ErrorNo.INVALID_TPPAR, reserved=0x8001), {},
    ),
    (
        "TR, end of validity (RFC 6043 section 6.4)", 13, "00 03 03 ffffffff",
        TR(role=TsRole.END, timestamp=Timestamp(ts_type=TsType.NTP_UTC_32, value=0xFFFFFFFF)),
        {1: "TS Role", 2: "TS type", 3: "TS value"},
    ),
    (
        "IDR, Initiator (RFC 6043 section 6.6)", 14, "00 01 01 0007 7369703a614062",
        IDR(role=IdRole.INITIATOR, id_type=IdType.URI, data=b"sip:a@b"),
        {1: "ID Role", 2: "ID Type", 3: "ID len", 5: "ID Data"},
    ),
    (
        "IDR, pre-shared key, byte string (RFC 6043 section 6.5)", 14, "00 04 02 0002 00ff",
        IDR(role=IdRole.PSK, id_type=IdType.BYTE_STRING, data=b"\0\xff"), {},
    ),
    (
        "IDR, unregistered role and type", 14, "00 f0 63 0000", IDR(role=0xF0, id_type=0x63, data=b""), {},
    ),
    (
        "RANDR, KMS (RFC 6043 section 6.8)", 15, "00 03 02 beef", RANDR(role=RandRole.KMS, rand=b"\xbe\xef"),
        {1: "RAND Role", 2: "RAND length", 3: "RAND"},
    ),
    (
        "TP, one responder (RFC 6043 section 6.10)", 16,
        # D E F G H J N O = 1111 1010 0011, after 7 bits of PRF and before 5 of Res
        "00 0001 01 01 03f460 000b 0e 00 02 01 0005 7369703a62",
        TP(
            ticket_type=TicketType.MIKEY_BASE, subtype=1, version=1, prf=PrfFunc.HMAC_SHA_256,
            flags=TicketFlags.of("DEFGHJNO"),
            payloads=(IDR(role=IdRole.RESPONDER, id_type=IdType.URI, data=b"sip:b"),),
        ),
        {1: "Ticket Type", 3: "Subtype", 4: "Version", 5: "flags", 8: "TP Data length", 10: "TP Data"},
    ),
    (
        "TICKET, MIKEY-1, all of Res, 3GPP type", 17,
        "00 0002 02 03 01f47f 0001 00 0002 a1a2 0001 b1",
        TICKET(
            ticket_type=TicketType.TGPP_BASE, subtype=2, version=3, prf=PrfFunc.MIKEY_1,
            flags=TicketFlags.of("DEFGHJNO"), res=0x1F, payloads=(),
            ticket_data=b"\xa1\xa2", initiator_data=b"\xb1",
        ),
        {11: "Ticket Data length", 13: "Ticket Data", 15: "Initiator Data length", 17: "Initiator Data"},
    ),
    (
        "Key data, TGK, KV null (RFC 3830 section 6.13)", 20, f"00 00 0010 {KEY.hex()}",
        KeyData(key_type=KeyDataType.TGK, key=Secret(KEY)),
        {1: "Type and KV", 2: "Key data len", 4: "Key data"},
    ),
    (
        "Key data, TGK+SALT, SPI (RFC 3830 section 6.14)", 20,
        f"00 11 0010 {KEY.hex()} 000e {SALT.hex()} 04 0a0b0c0d",
        KeyData(key_type=KeyDataType.TGK_SALT, key=Secret(KEY), salt=Secret(SALT), spi=b"\n\x0b\x0c\r"),
        {20: "Salt len", 22: "Salt data", 36: "SPI Length", 37: "SPI"},
    ),
    (
        "Key data, TEK, interval", 20, f"00 22 0010 {KEY.hex()} 01 01 02 0203",
        KeyData(
            key_type=KeyDataType.TEK, key=Secret(KEY), interval=Interval(valid_from=b"\1", valid_to=b"\2\3")
        ),
        {20: "VF Length", 21: "Valid From", 22: "VT Length", 23: "Valid To"},
    ),
    (
        "Key data, TEK+SALT, SPI of no octets", 20, f"00 31 0010 {KEY.hex()} 000e {SALT.hex()} 00",
        KeyData(key_type=KeyDataType.TEK_SALT, key=Secret(KEY), salt=Secret(SALT), spi=b""), {},
    ),
    (
        "Key data, GTGK, SPI (RFC 6043 section 6.2.1)", 20, f"00 41 0010 {KEY.hex()} 01 67",
        KeyData(key_type=KeyDataType.GTGK, key=Secret(KEY), spi=b"g"), {},
    ),
    (
        "Key data, GTGK+SALT, interval", 20, f"00 52 0010 {KEY.hex()} 0002 eeff 00 00",
        KeyData(
            key_type=KeyDataType.GTGK_SALT, key=Secret(KEY), salt=Secret(b"\xee\xff"),
            interval=Interval(valid_from=b"", valid_to=b""),
        ),
        {},
    ),
    (
        "Key data, MPK, SPI", 20, f"00 61 0010 {KEY.hex()} 02 6d70",
        KeyData(key_type=KeyDataType.MPK, key=Secret(KEY), spi=b"mp"), {},
    ),
    (
        "EXT, vendor (RFC 3830 section 6.15)", 21, "00 00 0003 010203",
        EXT(ext_type=ExtensionType.VENDOR_ID, data=b"\1\2\3"), {1: "Type", 2: "Length", 4: "Data"},
    ),
    (
        "EXT, SDP IDs (RFC 4567 section 4.1.4)", 21, "00 01 0005 6d696b6579",
        EXT(ext_type=ExtensionType.SDP_IDS, data=b"mikey"), {},
    ),
    (
        "EXT, Key ID (RFC 4563 4)", 21, "00 03 0004 00 02 aaab",
        EXT(ext_type=ExtensionType.KEY_ID, data=b"\0\2\xaa\xab"), {},
    ),
]  # fmt: skip

IDS = [case[0] for case in CASES]


def octets_of(case) -> bytes:
    return bytes.fromhex(case[2].replace(" ", ""))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_encodes(case):
    assert encode_chain([case[3]]) == (case[1], octets_of(case))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_decodes(case):
    assert decode_chain(case[1], Reader(octets_of(case)), DEFAULT_LIMITS, "message") == ((case[3],), (0,))


CUTS = [(case, offset, field) for case in CASES for offset, field in case[4].items()]


@pytest.mark.parametrize(("case", "offset", "field"), CUTS, ids=[f"{c[0]}-{o}" for c, o, _ in CUTS])
def test_cut_before_a_field_names_the_field_and_its_offset(case, offset, field):
    with pytest.raises(MalformedMessage) as refusal:
        decode_chain(case[1], Reader(octets_of(case)[:offset], base=100), DEFAULT_LIMITS, "message")
    assert refusal.value.field == field
    # A field whose octets a length before it promised is missed where those octets begin.
    starts = [start for start, name in case[4].items() if name == field]
    assert refusal.value.offset == 100 + min(starts)


def test_every_payload_has_a_case():
    assert {case[1] for case in CASES} == {int(cls.payload_type) for cls in PAYLOAD_CLASSES.values()}
    assert {case[1] for case in CASES} == {int(kind) for kind in PayloadType} - {0}


def test_next_payload_is_that_of_the_payload_behind():
    chain = [
        T(timestamp=Timestamp(ts_type=TsType.COUNTER, value=1)),
        RAND(rand=b"\7"),
        SIGN(signature_type=SignatureType.RSA_PKCS1, signature=b"\x99"),
    ]
    assert encode_chain(chain) == (5, bytes.fromhex("0b0200000001" + "040107" + "000199"))  # type: ignore[arg-type]


def lengths() -> list[tuple]:
    """Every length field of the cases: (case, offset, octets of the field, name of what it counts)."""
    found = []
    for case in CASES:
        for (offset, name), (following, _) in pairwise(sorted(case[4].items())):
            if "len" in name.lower():
                found.append((case, offset, following - offset))
    return found


@pytest.mark.parametrize(("case", "offset", "size"), lengths(), ids=[f"{c[0]}-{o}" for c, o, _ in lengths()])
def test_length_beyond_the_end_is_refused(case, offset, size):
    octets = octets_of(case)
    overrun = octets[:offset] + b"\xff" * size + octets[offset + size :]
    with pytest.raises(MalformedMessage, match=r"needs \d+ octets") as refusal:
        decode_chain(case[1], Reader(overrun), DEFAULT_LIMITS, "message")
    assert offset < refusal.value.offset <= len(octets)  # type: ignore[operator]


def test_every_kind_of_length_field_is_among_them():
    names = {case[4][offset] for case, offset, _ in lengths()}
    assert names == {
        "Encr data len", "PKE Data len", "Signature len", "ID len", "Cert len", "Policy param length",
        "RAND length", "TP Data length", "Ticket Data length", "Initiator Data length", "Key data len",
        "Salt len", "SPI Length", "VF Length", "VT Length", "Length",
    }  # fmt: skip
