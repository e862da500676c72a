"""STUN and TURN servers, and the credentials for them. No I/O but reading a password file."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from sipmikey.key_file import read_secret_file
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

PORT = 3478
"""Port of STUN and TURN over UDP (RFC 8489 section 14, RFC 8656 section 18)."""

_LIFETIME_S = 86400

Address = tuple[str, int]


def server_address(text: str, name: str) -> Address:
    """Return (host, port) of ``host``, ``host:port`` or ``[ipv6]:port``.

    Raises ``LocalError`` with *name* for another text, and for a TURN URI that asks for TCP or TLS.
    """
    plain, _, parameters = text.partition("?")
    scheme, colon, rest = plain.partition(":")
    if colon and scheme.lower() in ("stun", "turn", "stuns", "turns"):
        plain = rest
        if scheme.lower().endswith("s"):
            raise LocalError(f"{name}: {scheme}: goes over TLS, which loses media here: use a server on UDP")
    if "transport=" in parameters and "udp" not in parameters:
        raise LocalError(
            f"{name}: TURN over TCP loses media here after some packets: use the server's UDP port"
        )
    host, port = plain, str(PORT)
    if plain.startswith("["):
        host, _, rest = plain[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif plain.count(":") == 1:
        host, _, port = plain.partition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or any(c in host for c in " /@?"):
        raise LocalError(f"{name}: needs HOST or HOST:PORT, not {text!r}")
    return host, int(port)


def endpoint_text(address: Address) -> str:
    """Return ``host:port``, an IPv6 host in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def timed_credentials(
    secret: Secret, user: str, *, now_s: float, lifetime_s: int = _LIFETIME_S
) -> tuple[str, Secret]:
    """Return (user name, password) for *lifetime_s* seconds, made of the *secret* shared with a TURN server.

    This is the scheme of the TURN REST API, which coturn calls ``use-auth-secret``: the name is the time at
    which it expires and the user, the password base64 of HMAC-SHA-1 over the name.
    """
    name = f"{int(now_s) + lifetime_s}:{user}"
    digest = hmac.new(secret.reveal(), name.encode(), hashlib.sha1).digest()
    return name, Secret(base64.b64encode(digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class NatSettings:
    """``stun``, ``turn``: servers as ``host`` or ``host:port``, on UDP; empty: none.

    ``turn_username`` with ``turn_password``, or with ``turn_password_file``, which is read again each time,
    so that another program can renew it (``username:password`` in it gives both); or with ``turn_secret``,
    of which time-limited credentials are made. ``ice``: find the best way for the media (RFC 8445); on by
    itself where there is a server. ``rtcp_mux``: RTP and RTCP on one port (RFC 5761); both sides must.
    """

    stun: str = ""
    turn: str = ""
    turn_username: str = ""
    turn_password: Secret | None = None
    turn_password_file: Path | None = None
    turn_secret: Secret | None = None
    ice: bool | None = None
    rtcp_mux: bool = False

    def __post_init__(self) -> None:
        for name in ("stun", "turn"):
            if getattr(self, name):
                server_address(getattr(self, name), f"nat.{name}")
        given = [self.turn_password, self.turn_password_file, self.turn_secret]
        if sum(one is not None for one in given) > 1:
            raise LocalError("nat: keep one of turn_password, turn_password_file and turn_secret")
        if self.turn and self.ice is False:
            raise LocalError("nat.turn is set and nat.ice is off: TURN is used through ICE only")
        if not self.turn and (self.turn_username or any(one is not None for one in given)):
            raise LocalError("nat has TURN credentials and no TURN server: set nat.turn")

    @property
    def uses_ice(self) -> bool:
        """True where ICE finds the way of the media."""
        return bool(self.stun or self.turn) if self.ice is None else self.ice

    @property
    def stun_server(self) -> Address | None:
        """The STUN server. A TURN server answers STUN as well, and relays alone do not reach each other."""
        text = self.stun or self.turn
        return server_address(text, "nat.stun") if text else None

    @property
    def turn_server(self) -> Address | None:
        """The TURN server."""
        return server_address(self.turn, "nat.turn") if self.turn else None

    def credentials(self, now_s: float) -> tuple[str, Secret]:
        """Return the TURN user name and password to use at *now_s* (Unix time). Raises ``LocalError``."""
        if self.turn_secret is not None:
            return timed_credentials(self.turn_secret, self.turn_username or "sipmikey", now_s=now_s)
        if self.turn_password_file is not None:
            return self._from_file(self.turn_password_file)
        return self.turn_username, self.turn_password or Secret(b"")

    def _from_file(self, path: Path) -> tuple[str, Secret]:
        line = read_secret_file(path, "nat.turn_password_file").reveal()
        if self.turn_username:
            return self.turn_username, Secret(line)
        # The user name of a time-limited credential has a colon itself; base64 and hexadecimal have none.
        name, colon, password = line.rpartition(b":")
        if not colon:
            raise LocalError(f"nat.turn_password_file: {path}: set nat.turn_username, or write NAME:PASSWORD")
        return name.decode(), Secret(password)
