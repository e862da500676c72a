"""MACs of messages and tickets (RFC 3830 section 4.2.4, RFC 6043 section 6.2)."""

from __future__ import annotations

import hmac

from sipmikey.mikey.errors import AuthenticationFailure, LocalError
from sipmikey.mikey.registry import MacAlg
from sipmikey.mikey.secret import Secret
from sipmikey.native import native

_DIGESTS = {MacAlg.HMAC_SHA_1_160: "sha1", MacAlg.HMAC_SHA_256_256: "sha256"}


@native
def compute_mac(mac_alg: MacAlg, auth_key: Secret, covered: bytes) -> bytes:
    """Return the MAC, 20 or 32 bytes; the NULL algorithm is a `LocalError`."""
    if mac_alg not in _DIGESTS:
        raise LocalError("the NULL MAC protects nothing and is never used")
    return hmac.digest(auth_key.reveal(), covered, _DIGESTS[mac_alg])


@native
def verify_mac(mac_alg: MacAlg, auth_key: Secret, covered: bytes, mac: bytes, what: str) -> None:
    """Raise `AuthenticationFailure` unless *mac* is that of *covered*; compares in constant time."""
    if not hmac.compare_digest(compute_mac(mac_alg, auth_key, covered), mac):
        raise AuthenticationFailure("the MAC does not verify", field=what)
