"""Invitation codes: what a person reads out, and the URI that carries one in its fragment.

A code has 16 symbols of Crockford's base 32, in four groups: ``7KQ2-M3XA-0VZD-J8TN``. The first group is the
*number* of the invitation and not a secret. The other twelve symbols, 60 bits, are the secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NUMBER_SYMBOLS: Final = 4
SECRET_SYMBOLS: Final = 12
SYMBOLS: Final = NUMBER_SYMBOLS + SECRET_SYMBOLS
GROUP: Final = 4
NUMBERS: Final = len(ALPHABET) ** NUMBER_SYMBOLS
"""How many numbers of invitations there are."""

PATH: Final = "/enrolment"
SIGN_ON_PATH: Final = "/enrolment/sso"

_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0"})
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 12, 8, 1
"""4 MiB and some 10 ms for each guess of a code, beside its 60 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An invitation's code. ``number``: 4 symbols, not secret; ``secret``: 12 symbols."""

    number: str
    secret: Secret

    def written(self) -> str:
        """Return the code in groups, as it is shown to the one who is invited."""
        symbols = self.number + self.secret.reveal().decode()
        return "-".join(symbols[start : start + GROUP] for start in range(0, SYMBOLS, GROUP))

    def key(self) -> Secret:
        """Return the key (32 bytes) that is made of the code. This takes some 10 ms and 4 MiB."""
        salt = b"sipmikey enrolment " + self.number.encode()
        kdf = Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
        return Secret(kdf.derive(self.secret.reveal()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A code and, where it came in a URI, the base URL of the KMS it is for."""

    code: Code
    kms_url: str | None = None


def new_code(random: Callable[[int], bytes]) -> Code:
    """Draw a code."""
    symbols = "".join(ALPHABET[octet & 31] for octet in random(SYMBOLS))
    return Code(number=symbols[:NUMBER_SYMBOLS], secret=Secret(symbols[NUMBER_SYMBOLS:].encode()))


def parse_code(text: str) -> Code:
    """Return the code that a person typed: case, blanks and hyphens do not count, O is 0, I and L are 1.

    Raises `LocalError`, which does not repeat the code.
    """
    symbols = "".join(text.split()).replace("-", "").upper().translate(_READ_AS)
    if len(symbols) != SYMBOLS:
        raise LocalError(f"a code has {SYMBOLS} letters and digits in four groups; this has {len(symbols)}")
    if any(symbol not in ALPHABET for symbol in symbols):
        raise LocalError("a code has digits and letters without U only: look at the groups again")
    return Code(number=symbols[:NUMBER_SYMBOLS], secret=Secret(symbols[NUMBER_SYMBOLS:].encode()))


def parse_number(text: str) -> str:
    """Return the number of an invitation, from itself or from a whole code. Raises `LocalError`."""
    symbols = "".join(text.split()).replace("-", "").upper().translate(_READ_AS)
    if len(symbols) == SYMBOLS:
        symbols = symbols[:NUMBER_SYMBOLS]
    if len(symbols) != NUMBER_SYMBOLS or any(symbol not in ALPHABET for symbol in symbols):
        raise LocalError(f"the number of an invitation is the first group of its code, not {text!r}")
    return symbols


def uri_of(kms_url: str, code: Code) -> str:
    """Return the URI of an invitation. Its fragment, the code, is not sent to any server."""
    return f"{kms_url.rstrip('/')}{PATH}#{code.written()}"


def parse_invitation(text: str) -> Invitation:
    """Return what a code or the URI of an invitation says. Raises `LocalError`, without the code."""
    text = text.strip()
    if "://" not in text:
        return Invitation(code=parse_code(text))
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    path = parts.path.rstrip("/")
    if parts.scheme not in ("https", "http") or not parts.netloc or not path.endswith(PATH):
        raise LocalError(f"the URI of an invitation is https://HOST{PATH}#CODE")
    if not parts.fragment:
        raise LocalError("the URI has no code: it ends with # and the code; copy it whole")
    base = urlunsplit((parts.scheme, parts.netloc, path.removesuffix(PATH), "", ""))
    return Invitation(code=parse_code(parts.fragment), kms_url=base)
