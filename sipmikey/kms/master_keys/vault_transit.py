"""A master key wrapped by the transit engine of HashiCorp Vault or OpenBao. The wrapping key stays there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import hvac
import requests
from hvac.exceptions import VaultError

from sipmikey.kms.master_keys.secret_source import secret_from
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

TIMEOUT_S = 10


class VaultWrapper:
    """Wraps under the transit key *key* of the Vault at *url*.

    *token*: ``file:PATH`` or ``env:NAME``. *mount*: where the engine is. *ca*: PEM file of the Vault's CA.
    """

    kind = "vault"

    def __init__(self, *, url: str, key: str, token: str, mount: str = "transit", ca: str = "") -> None:
        self._url = url
        self._key = key
        self._token = token
        self._mount = mount
        self._ca = ca

    def settings(self) -> Mapping[str, str]:
        """Return what it takes to make this wrapper again."""
        found = {"url": self._url, "key": self._key, "token": self._token, "mount": self._mount}
        return found | ({"ca": self._ca} if self._ca else {})

    def wrap(self, key: Secret) -> bytes:
        """Encrypt a master key: the Vault's own text, ``vault:v1:...``."""
        plaintext = base64.b64encode(key.reveal()).decode()
        return self._asked("encrypt_data", "ciphertext", plaintext=plaintext).encode()

    def unwrap(self, wrapped: bytes) -> Secret:
        """Decrypt what `wrap` made."""
        try:
            answer = self._asked("decrypt_data", "plaintext", ciphertext=wrapped.decode())
            return Secret(base64.b64decode(answer, validate=True))
        except (UnicodeError, binascii.Error):
            raise LocalError(f"Vault {self._url}: what it decrypted is not base64") from None

    def _asked(self, act: str, field: str, **fields: str) -> str:
        token = secret_from(self._token, "token of the Vault").reveal().decode()
        client = hvac.Client(url=self._url, token=token, timeout=TIMEOUT_S, verify=self._ca or True)
        try:
            answer = getattr(client.secrets.transit, act)(self._key, mount_point=self._mount, **fields)
            found = answer["data"][field]
        except VaultError as error:
            # Its text holds the URL and the Vault's words, and never what was sent.
            raise LocalError(f"Vault {self._url}, key {self._key!r}: {error}") from None
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            raise LocalError(f"Vault {self._url} does not answer: {type(error).__name__}") from None
        finally:
            client.adapter.close()
        if not isinstance(found, str):
            raise LocalError(f"Vault {self._url}: no {field} in its answer")
        return found
