"""Encryption of key data in a KEMAC (RFC 3830 section 4.2.3, RFC 6043 section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sipmikey.keys.derivation import ProtectionKeys
from sipmikey.mikey.errors import LocalError, MalformedMessage, UnsupportedEncryption, UnsupportedMac
from sipmikey.mikey.kemac import KEMAC, KeyData, decode_key_data, encode_key_data
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.registry import EncrAlg, MacAlg
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.native import native

NO_CSB_ID = 0xFFFF_FFFF
"""The CSB ID in the IV of a ticket's KEMAC (RFC 6043 Appendix A.1)."""

_KW_BLOCK = 8


@native
def seal_keys(
    keys: Sequence[KeyData],
    encr_alg: EncrAlg,
    protection: ProtectionKeys,
    *,
    csb_id: int,
    timestamp: Timestamp,
) -> KEMAC:
    """Encrypt key data into a KEMAC with the NULL MAC, as every KEMAC of MIKEY-TICKET has it.

    *timestamp* is that of the message that carries the KEMAC. AES key wrap takes only plaintexts of whole
    8-octet blocks; another length is a `LocalError` (RFC 3830 names no padding).
    """
    plaintext = encode_key_data(keys)
    if encr_alg is EncrAlg.NULL:
        raise LocalError("keys are never sent without encryption")
    encr_key = protection.encr_key(encr_alg)
    salt_key = protection.salt_key(encr_alg)
    if encr_alg is EncrAlg.AES_KW_128:
        encr_data = _wrap(encr_key, salt_key, plaintext)
    else:
        encr_data = _aes_cm(encr_key, salt_key, csb_id, timestamp, plaintext)
    return KEMAC(encr_alg=encr_alg, encr_data=encr_data)


@native
def open_keys(
    kemac: KEMAC,
    protection: ProtectionKeys,
    *,
    csb_id: int,
    timestamp: Timestamp,
    limits: Limits,
    what: str,
) -> tuple[KeyData, ...]:
    """Decrypt the key data of a KEMAC whose message has been authenticated.

    Raises `UnsupportedEncryption` for NULL, `UnsupportedMac` for a MAC inside the KEMAC (RFC 6043 section
    4.2.1.5 puts it into V), `MalformedMessage` when the plaintext is not key data.
    """
    if kemac.mac_alg is not MacAlg.NULL:
        raise UnsupportedMac("must be NULL: the message has a V payload", field=f"{what} KEMAC Mac alg")
    if kemac.encr_alg is EncrAlg.NULL:
        raise UnsupportedEncryption("keys without encryption are refused", field=f"{what} KEMAC Encr alg")
    encr_key = protection.encr_key(kemac.encr_alg)
    salt_key = protection.salt_key(kemac.encr_alg)
    if kemac.encr_alg is EncrAlg.AES_KW_128:
        plaintext = _unwrap(encr_key, salt_key, kemac.encr_data, what)
    else:
        plaintext = _aes_cm(encr_key, salt_key, csb_id, timestamp, kemac.encr_data)
    return decode_key_data(plaintext, limits)


def _aes_cm(encr_key: Secret, salt_key: Secret, csb_id: int, timestamp: Timestamp, data: bytes) -> bytes:
    """AES in counter mode with IV = (S XOR (0x0000 || CSB ID || T)) || 0x0000; encrypts and decrypts."""
    mask = csb_id << 64 | int.from_bytes(timestamp.iv_octets(), "big")
    iv = (int.from_bytes(salt_key.reveal(), "big") ^ mask).to_bytes(14, "big") + b"\0\0"
    context = Cipher(algorithms.AES(encr_key.reveal()), modes.CTR(iv)).encryptor()
    return context.update(data) + context.finalize()


def _wrap(encr_key: Secret, salt_key: Secret, plaintext: bytes) -> bytes:
    """RFC 3394 section 2.2.1 with the salting key as initial value (which no library offers)."""
    if len(plaintext) % _KW_BLOCK or len(plaintext) < 2 * _KW_BLOCK:
        raise LocalError(f"AES key wrap takes whole 8-octet blocks, not {len(plaintext)} octets")
    aes = Cipher(algorithms.AES(encr_key.reveal()), modes.ECB()).encryptor()
    blocks = [plaintext[at : at + _KW_BLOCK] for at in range(0, len(plaintext), _KW_BLOCK)]
    a = salt_key.reveal()
    counter = 0
    for _ in range(6):
        for index, block in enumerate(blocks):
            counter += 1
            result = aes.update(a + block)
            a = (int.from_bytes(result[:_KW_BLOCK], "big") ^ counter).to_bytes(_KW_BLOCK, "big")
            blocks[index] = result[_KW_BLOCK:]
    return a + b"".join(blocks)


def _unwrap(encr_key: Secret, salt_key: Secret, wrapped: bytes, what: str) -> bytes:
    """RFC 3394 section 2.2.2 with the salting key as initial value."""
    if len(wrapped) % _KW_BLOCK or len(wrapped) < 3 * _KW_BLOCK:
        raise MalformedMessage("AES key wrap gives whole 8-octet blocks", field=f"{what} Encr data")
    aes = Cipher(algorithms.AES(encr_key.reveal()), modes.ECB()).decryptor()
    a = wrapped[:_KW_BLOCK]
    blocks = [wrapped[at : at + _KW_BLOCK] for at in range(_KW_BLOCK, len(wrapped), _KW_BLOCK)]
    counter = 6 * len(blocks)
    for _ in range(6):
        for index in reversed(range(len(blocks))):
            masked = (int.from_bytes(a, "big") ^ counter).to_bytes(_KW_BLOCK, "big")
            result = aes.update(masked + blocks[index])
            a, blocks[index] = result[:_KW_BLOCK], result[_KW_BLOCK:]
            counter -= 1
    if Secret(a) != salt_key:
        raise MalformedMessage("the key wrap does not verify", field=f"{what} Encr data")
    return b"".join(blocks)
