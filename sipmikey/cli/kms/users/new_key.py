"""A new pre-shared key of a user."""

from __future__ import annotations

import secrets
import time

from sipmikey.cli.kms.common import DAY_S
from sipmikey.kms.subscribers import PskRecord
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError

PSK_BYTES = 32


def new_psk(identity: str, *, psk_id: str | None, valid_days: float | None) -> PskRecord:
    """Draw a key (32 bytes) for *identity*, called *psk_id* or by the user and four random octets.

    *valid_days* None: it has no end. Raises `ConfigurationError` for a psk_id of more than 255 octets.
    """
    user = identity.partition(":")[2].partition("@")[0].partition(";")[0]
    name = psk_id or f"{user[:200]}-{secrets.token_hex(4)}"
    if not 1 <= len(name.encode()) <= 255:
        raise ConfigurationError("--psk-id has 1 to 255 octets")
    end = None if valid_days is None else round(time.time() + valid_days * DAY_S)
    return PskRecord(key_id=name.encode(), key=Secret(secrets.token_bytes(PSK_BYTES)), valid_until_s=end)
