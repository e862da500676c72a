"""Key derivation and protection of MIKEY messages, without I/O.

`Suite` names the algorithms that belong together, `Prf` derives keys from a key, and `ProtectionKeys` are the
keys of one message. `compute_mac` and `verify_mac` protect a message; `seal_keys` and `open_keys` encrypt and
decrypt the keys of a KEMAC payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmikey.keys.derivation import (
    ProtectionKeys,
    derive_mpks,
    fork_mpk_r,
    fork_tgk,
    initial_message_keys,
    initiator_data_keys,
    response_message_keys,
    session_key,
    ticket_keys,
)
from sipmikey.keys.envelope import open_envelope, seal_envelope
from sipmikey.keys.mac import compute_mac, verify_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.signature import sign, verify_signature
from sipmikey.keys.suite import SUITE_128, SUITE_256, SUITES, Suite, suite_named, suite_of
from sipmikey.keys.transport import open_keys, seal_keys
from sipmikey.on_use import on_use

if TYPE_CHECKING:
    from sipmikey.keys.certificate import (
        certificate_identities,
        load_certificate,
        rsa_public_key,
        verify_chain,
    )

__all__ = [
    "SUITES",
    "SUITE_128",
    "SUITE_256",
    "Prf",
    "ProtectionKeys",
    "Suite",
    "certificate_identities",
    "compute_mac",
    "derive_mpks",
    "fork_mpk_r",
    "fork_tgk",
    "initial_message_keys",
    "initiator_data_keys",
    "load_certificate",
    "open_envelope",
    "open_keys",
    "response_message_keys",
    "rsa_public_key",
    "seal_envelope",
    "seal_keys",
    "session_key",
    "sign",
    "suite_named",
    "suite_of",
    "ticket_keys",
    "verify_chain",
    "verify_mac",
    "verify_signature",
]

# Imported when asked for: reading certificates loads slowly, and few programs do it.
__getattr__ = on_use(
    __name__,
    {
        "certificate_identities": "sipmikey.keys.certificate",
        "load_certificate": "sipmikey.keys.certificate",
        "rsa_public_key": "sipmikey.keys.certificate",
        "verify_chain": "sipmikey.keys.certificate",
    },
)
