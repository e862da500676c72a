"""Credentials from 3GPP GBA: the pre-shared key is a Ks_NAF, named by its B-TID (3GPP TS 33.220).

Shows where another source of keys plugs into the KMS. In `kms.toml`:

    [kms]
    credential_source = "gba_credentials:GbaCredentials"

with this file's directory in PYTHONPATH. A real one asks the BSF over Zn. This one reads the file that the
environment variable GBA_SESSIONS names, one JSON object a line:

    {"b_tid": "abc@bsf.example.com", "ks_naf": "<base64>", "impus": ["sip:alice@example.com"],
     "expires_s": 1790000000}
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

from sipmikey.kms.service import CredentialSource
from sipmikey.kms.subscribers import Principal, PskCredential, normal_identity
from sipmikey.mikey.secret import Secret

VARIABLE = "GBA_SESSIONS"


class GbaCredentials:
    """Knows bootstrapped sessions by B-TID; everything else it leaves to the store."""

    def __init__(self, store: CredentialSource) -> None:
        self._store = store
        self._file = Path(os.environ[VARIABLE])
        # What has no session of its own is asked of the store unchanged.
        self.psks_of = store.psks_of
        self.principal_by_certificate = store.principal_by_certificate
        self.certificates_of = store.certificates_of
        self.principal_of = store.principal_of
        self.groups_of = store.groups_of

    async def psk_by_key_id(self, key_id: bytes) -> PskCredential | None:
        """Return the Ks_NAF of the session whose B-TID is *key_id* (IDRpsk), or what the store has."""
        session = self._sessions().get(key_id)
        return session if session is not None else await self._store.psk_by_key_id(key_id)

    def _sessions(self) -> dict[bytes, PskCredential]:
        return {
            session.key_id: session
            for session in map(_session, self._file.read_text(encoding="utf-8").splitlines())
            if session.key_id is not None
        }


def _session(line: str) -> PskCredential:
    """Return a session as a credential, which speaks for the IMPUs of the security settings only."""
    fields = json.loads(line)
    impus: Sequence[str] = fields["impus"]
    identities = tuple(map(normal_identity, impus))
    return PskCredential(
        principal=Principal(name=f"gba:{identities[0]}", identities=identities),
        key=Secret(base64.b64decode(fields["ks_naf"])),
        key_id=fields["b_tid"].encode(),
        valid_until_s=fields["expires_s"],
    )
