"""A master key wrapped by a token: an HSM, a smart card, SoftHSM. The wrapping key never leaves it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import pkcs11
from pkcs11 import KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import GCMParams

from sipmikey.kms.master_keys.secret_source import secret_from
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

NONCE_BYTES = 12
_BOUND = b"sipmikey kms master key"


class Pkcs11Wrapper:
    """Wraps with AES-GCM under the AES key labelled *key* in the *token* of the library *module*.

    *pin*: ``file:PATH`` or ``env:NAME``.
    """

    kind = "pkcs11"

    def __init__(self, *, module: str, token: str, key: str, pin: str) -> None:
        self._module = module
        self._token = token
        self._key = key
        self._pin = pin

    def settings(self) -> Mapping[str, str]:
        """Return what it takes to make this wrapper again."""
        return {"module": self._module, "token": self._token, "key": self._key, "pin": self._pin}

    def wrap(self, key: Secret) -> bytes:
        """Encrypt a master key: nonce (12 bytes), ciphertext, tag (16)."""
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = self._used(lambda found: found.encrypt(key.reveal(), **_gcm(nonce)))
        return nonce + sealed

    def unwrap(self, wrapped: bytes) -> Secret:
        """Decrypt what `wrap` made."""
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        return Secret(self._used(lambda found: found.decrypt(sealed, **_gcm(nonce))))

    def make_key(self) -> None:
        """Make the wrapping key in the token: 256 bits, which cannot be taken out. Raises `LocalError`."""
        self._in_session(
            lambda session: session.generate_key(
                KeyType.AES,
                256,
                label=self._key,
                store=True,
                template={
                    pkcs11.Attribute.SENSITIVE: True,
                    pkcs11.Attribute.EXTRACTABLE: False,
                    pkcs11.Attribute.ENCRYPT: True,
                    pkcs11.Attribute.DECRYPT: True,
                },
            )
        )

    def _used(self, act: Callable[[Any], Any]) -> Any:
        def body(session: Any) -> Any:
            return act(session.get_key(object_class=ObjectClass.SECRET_KEY, label=self._key))

        return self._in_session(body)

    def _in_session(self, act: Callable[[Any], Any]) -> Any:
        pin = secret_from(self._pin, "pin of the token").reveal().decode()
        where = f"token {self._token!r} of {self._module}"
        try:
            token = pkcs11.lib(self._module).get_token(token_label=self._token)
            with token.open(user_pin=pin, rw=True) as session:
                return act(session)
        except (PKCS11Error, RuntimeError, OSError) as error:
            # The text of a PKCS#11 error is empty or a C function's name; its type says what happened.
            said = str(error) or type(error).__name__
            raise LocalError(f"{where}, key {self._key!r}: {said} ({type(error).__name__})") from None


def _gcm(nonce: bytes) -> dict[str, Any]:
    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, _BOUND)}
