"""The file of a wrapped master key: who unwraps it, and the wrapped key. It holds no secret."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sipmikey.kms.stores.vault import MASTER_KEY_BYTES
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError, parse_toml

MOST_BYTES = 65_536


class Wrapper(Protocol):
    """Encrypts a master key under a key that it keeps, and decrypts it again."""

    kind: str

    def settings(self) -> Mapping[str, str]:
        """Return what it takes to make this wrapper again, without secrets."""
        ...

    def wrap(self, key: Secret) -> bytes:
        """Encrypt a master key (32 bytes). Raises `LocalError`."""
        ...

    def unwrap(self, wrapped: bytes) -> Secret:
        """Decrypt what `wrap` made. Raises `LocalError`."""
        ...


class WrappedMasterKey:
    """Satisfies `MasterKeyProvider` with a wrapped master key in the file *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def master_key(self) -> Secret:
        """Unwrap the key; raise `LocalError` saying what is missing, or what does not answer."""
        where = f"wrapped master key {self.path}"
        try:
            with self.path.open("rb") as file:
                fields = parse_toml(file.read(MOST_BYTES).decode())
        except OSError as error:
            raise LocalError(f"{where}: {error.strerror}") from None
        except (ConfigurationError, UnicodeError):
            raise LocalError(f"{where} is not TOML") from None
        texts = {name: value for name, value in fields.items() if isinstance(value, str)}
        try:
            wrapped = base64.b64decode(texts.pop("wrapped"), validate=True)
            kind = texts.pop("kind")
        except (KeyError, binascii.Error):
            raise LocalError(f"{where} needs kind, and wrapped in base64") from None
        key = wrapper_of(kind, texts, where).unwrap(wrapped)
        if len(key) != MASTER_KEY_BYTES:
            raise LocalError(f"{where} holds {len(key)} bytes, not {MASTER_KEY_BYTES}")
        return key


def wrapper_of(kind: str, settings: Mapping[str, str], where: str) -> Wrapper:
    """Return the wrapper that a file names. Raises `LocalError` saying what is wrong in *where*."""
    try:
        if kind == "pkcs11":
            from sipmikey.kms.master_keys.pkcs11_token import Pkcs11Wrapper

            return Pkcs11Wrapper(**settings)
        if kind == "vault":
            from sipmikey.kms.master_keys.vault_transit import VaultWrapper

            return VaultWrapper(**settings)
    except TypeError as error:
        raise LocalError(f"{where}: {str(error).partition(' ')[2]}") from None
    except ImportError as error:
        raise LocalError(f"{where} needs {error.name}: pip install 'sipmikey[{kind}]'") from None
    raise LocalError(f"{where}: kind is pkcs11 or vault, not {kind!r}")


def written(wrapper: Wrapper, wrapped: bytes) -> str:
    """Return the text of a file for `WrappedMasterKey`."""
    fields: dict[str, Any] = {"kind": wrapper.kind, **wrapper.settings()}
    fields["wrapped"] = base64.b64encode(wrapped).decode()
    lines = [f'{name} = "{_escaped(str(value))}"' for name, value in fields.items()]
    return "\n".join(("# A wrapped master key. Only what is named here unwraps it.", *lines)) + "\n"


def _escaped(text: str) -> str:
    if not text.isprintable():
        raise LocalError(f"{text!r} cannot be written into a file: it has control characters")
    return text.replace("\\", "\\\\").replace('"', '\\"')
