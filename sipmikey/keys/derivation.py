"""Every key derivation of MIKEY-TICKET: RFC 6043 section 5.1, section 6.10 and Appendix A.2."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.keys.prf import Prf
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.fields import U8_MAX, U16_MAX
from sipmikey.mikey.registry import EncrAlg, MacAlg, PrfFunc
from sipmikey.mikey.secret import Secret
from sipmikey.native import native

ENCRYPTION_KEY = bytes.fromhex("150533E1")
AUTHENTICATION_KEY = bytes.fromhex("2D22AC75")
SALT_KEY = bytes.fromhex("29B88916")
"""Constants of RFC 3830 table 4.1.4, for the keys that protect MIKEY messages."""

SESSION_TEK = bytes.fromhex("2AD01C64")
SESSION_AUTHENTICATION_KEY = bytes.fromhex("1B5C7973")
SESSION_ENCRYPTION_KEY = bytes.fromhex("15798CEF")
SESSION_SALT = bytes.fromhex("39A2C14B")
"""Constants of RFC 3830 table 4.1.3, for the keys of a security protocol."""

FORKED_MPK_R = bytes.fromhex("2B288856")
FORKED_TGK = bytes.fromhex("1512B54A")
"""Constants of RFC 6043 table 5.1."""

TICKET_MPK_I = bytes.fromhex("220E99A2")
TICKET_MPK_R = bytes.fromhex("1F4D675B")
"""Constants of RFC 6043 table A.1."""

NO_CS_ID = b"\xff"
NO_CSB_ID = b"\xff\xff\xff\xff"
"""Stand in the label where no crypto session or bundle is meant."""

_ENCR_KEY_LENGTH = {EncrAlg.AES_CM_128: 16, EncrAlg.AES_KW_128: 16, EncrAlg.AES_CM_256: 32}
_SALT_KEY_LENGTH = {EncrAlg.AES_CM_128: 14, EncrAlg.AES_KW_128: 8, EncrAlg.AES_CM_256: 14}


@dataclass(frozen=True, slots=True)
class ProtectionKeys:
    """Gives encr_key, salt_key and auth_key of one message or ticket.

    ``label_tail`` is the label without its constant.
    """

    prf: Prf
    label_tail: bytes

    def encr_key(self, encr_alg: EncrAlg) -> Secret:
        """Return the encryption key: 16 or 32 bytes."""
        return self._derive(ENCRYPTION_KEY, _ENCR_KEY_LENGTH[encr_alg])

    def salt_key(self, encr_alg: EncrAlg) -> Secret:
        """Return the salting key: 14 bytes for AES-CM, 8 for AES key wrap."""
        return self._derive(SALT_KEY, _SALT_KEY_LENGTH[encr_alg])

    def auth_key(self, mac_alg: MacAlg) -> Secret:
        """Return the authentication key, as long as the MAC: 20 or 32 bytes."""
        return self._derive(AUTHENTICATION_KEY, mac_alg.length)

    def _derive(self, constant: bytes, length: int) -> Secret:
        return self.prf.derive(constant + self.label_tail, 8 * length)


def _with_length(octets: bytes) -> bytes:
    if len(octets) > U8_MAX:
        raise LocalError("a RAND has at most 255 octets")
    return bytes((len(octets),)) + octets


@native
def initial_message_keys(
    prf: Prf, csb_id: int, *, rand_i: bytes = b"", rand_r: bytes = b""
) -> ProtectionKeys:
    """Keys of an initial message (RFC 6043 section 5.1.2), from a PSK, envelope key or MPKi."""
    return _message_keys(prf, csb_id, b"\x01", rand_i, rand_r)


@native
def response_message_keys(
    prf: Prf, csb_id: int, *, rand_i: bytes = b"", rand_r: bytes = b""
) -> ProtectionKeys:
    """Keys of a response message (RFC 6043 section 5.1.2), from a PSK, envelope key, MPKi or MPKr'."""
    return _message_keys(prf, csb_id, b"\x02", rand_i, rand_r)


def _message_keys(prf: Prf, csb_id: int, number: bytes, rand_i: bytes, rand_r: bytes) -> ProtectionKeys:
    tail = NO_CS_ID + csb_id.to_bytes(4, "big") + number + _with_length(rand_i) + _with_length(rand_r)
    return ProtectionKeys(prf, tail)


def session_key(
    prf: Prf, constant: bytes, cs_id: int, length: int, *, rand_i: bytes, rand_r: bytes
) -> Secret:
    """Derive a key of *length* bytes for a crypto session from a TGK, TGK' or GTGK (RFC 6043 section 5.1.3).

    *constant* is `SESSION_TEK`, `SESSION_SALT` or another of that table; RANDs that the Ticket Policy leaves
    out are empty, and leaving out both is a `LocalError`.
    """
    if not rand_i and not rand_r:
        raise LocalError("at least one of RANDRi and RANDRr is used")
    tail = bytes((cs_id,)) + NO_CSB_ID + b"\x03" + _with_length(rand_i) + _with_length(rand_r)
    return prf.derive(constant + tail, 8 * length)


def initiator_data_keys(func: PrfFunc, mpk_r: Secret) -> ProtectionKeys:
    """Keys of the Vr payload in Initiator Data, from MPKr before forking (RFC 6043 section 6.10)."""
    return ProtectionKeys(Prf(func, mpk_r), NO_CS_ID + NO_CSB_ID + b"\x04")


def ticket_keys(prf: Prf, rand: bytes) -> ProtectionKeys:
    """Keys of a MIKEY base ticket, from a TPK and the ticket's RAND (RFC 6043 Appendix A.2.1)."""
    return ProtectionKeys(prf, NO_CS_ID + NO_CSB_ID + b"\x05" + _with_length(rand))


def derive_mpks(func: PrfFunc, mpk: Secret, rand: bytes) -> tuple[Secret, Secret]:
    """Return MPKi and MPKr, each as long as the ticket's MPK (RFC 6043 Appendix A.2.2)."""
    prf = Prf(func, mpk)
    tail = NO_CS_ID + NO_CSB_ID + b"\x06" + _with_length(rand)
    bits = 8 * len(mpk)
    return prf.derive(TICKET_MPK_I + tail, bits), prf.derive(TICKET_MPK_R + tail, bits)


def fork_mpk_r(func: PrfFunc, mpk_r: Secret, *, id_data: bytes, rand_kms: bytes) -> Secret:
    """Return MPKr', as long as MPKr (RFC 6043 section 5.1.1)."""
    return _fork(func, FORKED_MPK_R, mpk_r, id_data, rand_kms)


def fork_tgk(func: PrfFunc, tgk: Secret, *, id_data: bytes, rand_kms: bytes) -> Secret:
    """Return TGK', as long as the TGK (RFC 6043 section 5.1.1)."""
    return _fork(func, FORKED_TGK, tgk, id_data, rand_kms)


def _fork(func: PrfFunc, constant: bytes, key: Secret, id_data: bytes, rand_kms: bytes) -> Secret:
    if len(id_data) > U16_MAX:
        raise LocalError("ID Data has at most 65535 octets")
    label = b"".join(
        (
            constant,
            NO_CS_ID,
            NO_CSB_ID,
            b"\x00",
            len(id_data).to_bytes(2, "big"),
            id_data,
            _with_length(rand_kms),
        )
    )
    return Prf(func, key).derive(label, 8 * len(key))
