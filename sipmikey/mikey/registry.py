"""The MIKEY registries: RFC 3830 section 6, RFC 4563, RFC 4567, RFC 4738, RFC 6043 section 6, RFC 7714."""

from __future__ import annotations

from enum import IntEnum

MIKEY_VERSION = 1
"""HDR version (RFC 3830 section 6.1)."""


class DataType(IntEnum):
    """HDR data type (RFC 3830 table 6.1.a, RFC 6043 table 6.1)."""

    PSK_INIT = 0
    PSK_RESP = 1
    PK_INIT = 2
    PK_RESP = 3
    DH_INIT = 4
    DH_RESP = 5
    ERROR = 6
    REQUEST_INIT_PSK = 11
    REQUEST_INIT_PK = 12
    REQUEST_RESP = 13
    TRANSFER_INIT = 14
    TRANSFER_RESP = 15
    RESOLVE_INIT_PSK = 16
    RESOLVE_INIT_PK = 17
    RESOLVE_RESP = 18


class PayloadType(IntEnum):
    """Next Payload (RFC 3830 table 6.1.b, RFC 6043 table 6.2)."""

    LAST = 0
    KEMAC = 1
    PKE = 2
    DH = 3
    SIGN = 4
    T = 5
    ID = 6
    CERT = 7
    CHASH = 8
    V = 9
    SP = 10
    RAND = 11
    ERR = 12
    TR = 13
    IDR = 14
    RANDR = 15
    TP = 16
    TICKET = 17
    KEY_DATA = 20
    EXT = 21


class PrfFunc(IntEnum):
    """PRF func (RFC 3830 table 6.1.c, RFC 6043 table 6.3)."""

    MIKEY_1 = 0
    HMAC_SHA_256 = 1


class CsIdMapType(IntEnum):
    """CS ID map type (RFC 3830 table 6.1.d, RFC 4563 table 3, RFC 6043 table 6.4)."""

    SRTP_ID = 0
    EMPTY = 1
    GENERIC_ID = 2


class ProtType(IntEnum):
    """Security protocol (RFC 3830 table 6.10)."""

    SRTP = 0


class EncrAlg(IntEnum):
    """KEMAC encryption algorithm (RFC 3830 table 6.2.a, RFC 6043 table 6.5)."""

    NULL = 0
    AES_CM_128 = 1
    AES_KW_128 = 2
    AES_CM_256 = 3


class MacAlg(IntEnum):
    """MAC algorithm (RFC 3830 table 6.2.b, RFC 6043 table 6.6)."""

    NULL = 0
    HMAC_SHA_1_160 = 1
    HMAC_SHA_256_256 = 2

    @property
    def length(self) -> int:
        """Length of the MAC, in bytes."""
        return _MAC_LENGTH[self]


_MAC_LENGTH = {MacAlg.NULL: 0, MacAlg.HMAC_SHA_1_160: 20, MacAlg.HMAC_SHA_256_256: 32}


class KeyDataType(IntEnum):
    """Key data type (RFC 3830 table 6.13.a, RFC 6043 table 6.7)."""

    TGK = 0
    TGK_SALT = 1
    TEK = 2
    TEK_SALT = 3
    GTGK = 4
    GTGK_SALT = 5
    MPK = 6

    @property
    def has_salt(self) -> bool:
        """True where the sub-payload has Salt len and Salt data fields."""
        return self in (KeyDataType.TGK_SALT, KeyDataType.TEK_SALT, KeyDataType.GTGK_SALT)

    @property
    def is_tgk(self) -> bool:
        """True where the key is a TGK, the kind that key forking changes."""
        return self in (KeyDataType.TGK, KeyDataType.TGK_SALT)

    @property
    def is_tek(self) -> bool:
        """True where the key is used by the security protocol as it is."""
        return self in (KeyDataType.TEK, KeyDataType.TEK_SALT)

    @property
    def is_session_key(self) -> bool:
        """True where the key is a TEK, TGK or GTGK (RFC 6043 section 4.2.1.5)."""
        return self is not KeyDataType.MPK


class KeyValidityType(IntEnum):
    """KV of a key data sub-payload (RFC 3830 table 6.13.b)."""

    NULL = 0
    SPI = 1
    INTERVAL = 2


class TsType(IntEnum):
    """Timestamp type (RFC 3830 table 6.6, RFC 6043 table 6.8)."""

    NTP_UTC = 0
    NTP = 1
    COUNTER = 2
    NTP_UTC_32 = 3

    @property
    def length(self) -> int:
        """Length of the TS value, in bytes."""
        return _TS_LENGTH[self]


_TS_LENGTH = {TsType.NTP_UTC: 8, TsType.NTP: 8, TsType.COUNTER: 4, TsType.NTP_UTC_32: 4}


class TsRole(IntEnum):
    """TS Role (RFC 6043 table 6.9)."""

    ISSUE = 1
    START = 2
    END = 3
    REKEYING = 4


class IdType(IntEnum):
    """ID type (RFC 3830 table 6.7.a, RFC 6043 table 6.10)."""

    NAI = 0
    URI = 1
    BYTE_STRING = 2


class IdRole(IntEnum):
    """ID Role (RFC 6043 table 6.11)."""

    INITIATOR = 1
    RESPONDER = 2
    KMS = 3
    PSK = 4
    APPLICATION = 5


class CertType(IntEnum):
    """Certificate type (RFC 3830 table 6.7.b)."""

    X509V3 = 0
    X509V3_URL = 1
    X509V3_SIGN = 2
    X509V3_ENCR = 3


class HashFunc(IntEnum):
    """CHASH hash function (RFC 3830 table 6.8, RFC 6043 table 6.12)."""

    SHA_1 = 0
    MD5 = 1
    SHA_256 = 2

    @property
    def length(self) -> int:
        """Length of the hash, in bytes."""
        return _HASH_LENGTH[self]


_HASH_LENGTH = {HashFunc.SHA_1: 20, HashFunc.MD5: 16, HashFunc.SHA_256: 32}


class SignatureType(IntEnum):
    """S type of a SIGN payload (RFC 3830 table 6.5)."""

    RSA_PKCS1 = 0
    RSA_PSS = 1


class PkeCache(IntEnum):
    """Envelope key cache indicator (RFC 3830 table 6.3)."""

    NO_CACHE = 0
    CACHE = 1
    CACHE_FOR_CSB = 2


class DhGroup(IntEnum):
    """DH group (RFC 3830 table 6.4)."""

    OAKLEY_5 = 0
    OAKLEY_1 = 1
    OAKLEY_2 = 2

    @property
    def length(self) -> int:
        """Length of the DH value, in bytes."""
        return _DH_LENGTH[self]


_DH_LENGTH = {DhGroup.OAKLEY_5: 192, DhGroup.OAKLEY_1: 96, DhGroup.OAKLEY_2: 128}


class RandRole(IntEnum):
    """RAND Role (RFC 6043 table 6.13)."""

    INITIATOR = 1
    RESPONDER = 2
    KMS = 3


class ErrorNo(IntEnum):
    """Error no (RFC 3830 table 6.12, RFC 6043 table 6.14)."""

    AUTH_FAILURE = 0
    INVALID_TS = 1
    INVALID_PRF = 2
    INVALID_MAC = 3
    INVALID_EA = 4
    INVALID_HA = 5
    INVALID_DH = 6
    INVALID_ID = 7
    INVALID_CERT = 8
    INVALID_SP = 9
    INVALID_SPPAR = 10
    INVALID_DT = 11
    UNSPECIFIED = 12
    INVALID_TICKET = 14
    INVALID_TPPAR = 15


class ExtensionType(IntEnum):
    """General Extension type (RFC 3830 table 6.15, RFC 4563 table 1)."""

    VENDOR_ID = 0
    SDP_IDS = 1
    KEY_ID = 3


class KeyIdType(IntEnum):
    """Key ID type of the Key ID extension (RFC 4563 table 2)."""

    MBMS_KEY_DOMAIN = 0
    MBMS_SERVICE_KEY = 1
    MBMS_TRAFFIC_KEY = 2


class TicketType(IntEnum):
    """Ticket Type (RFC 6043 table 6.15)."""

    MIKEY_BASE = 1
    TGPP_BASE = 2


class SrtpParam(IntEnum):
    """SRTP policy parameter (RFC 3830 table 6.10.1.a, RFC 7714 section 14.2)."""

    ENCR_ALG = 0
    SESSION_ENCR_KEY_LENGTH = 1
    AUTH_ALG = 2
    SESSION_AUTH_KEY_LENGTH = 3
    SESSION_SALT_LENGTH = 4
    PRF = 5
    KEY_DERIVATION_RATE = 6
    SRTP_ENCRYPTION = 7
    SRTCP_ENCRYPTION = 8
    FEC_ORDER = 9
    SRTP_AUTHENTICATION = 10
    AUTH_TAG_LENGTH = 11
    PREFIX_LENGTH = 12
    AEAD_TAG_LENGTH = 20


class SrtpEncrAlg(IntEnum):
    """SRTP encryption algorithm (RFC 3830 table 6.10.1.b, RFC 7714 section 14.2)."""

    NULL = 0
    AES_CM = 1
    AES_F8 = 2
    AES_GCM = 6


class SrtpAuthAlg(IntEnum):
    """SRTP authentication algorithm (RFC 3830 table 6.10.1.c)."""

    NULL = 0
    HMAC_SHA_1 = 1


class SrtpPrf(IntEnum):
    """SRTP pseudo-random function (RFC 3830 table 6.10.1.d)."""

    AES_CM = 0


class FecOrder(IntEnum):
    """Order of FEC and SRTP at the sender (RFC 3830 table 6.10.1.e)."""

    FEC_SRTP = 0
