"""What an agent under test is started with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sipmikey.call.keying.known import alternatives
from sipmikey.call.policy import Fallback, Retarget, SecurityMode
from sipmikey.settings import nearest
from sipmikey.testing.agent_driver import Fields
from sipmikey.testing.stacks import STACKS, stack_of
from sipmikey.ticket.mode import Mode

_WORDS: Mapping[str, tuple[str, ...]] = {
    "security": tuple(SecurityMode),
    "fallback": tuple(Fallback),
    "alternative": alternatives(),
    "retarget": tuple(Retarget),
    "mode": tuple(Mode),
    "suites": ("256", "128"),
    "transports": ("udp", "tcp", "tls"),
    "stack": ("", *STACKS),
}
"""The words that a setting may be, or be made of."""


@dataclass(kw_only=True)
class AgentSettings:
    """What an agent is started with. ``clock_offset_s``: how wrong its clock is, seconds.

    ``psk`` is in hexadecimal. ``transfer``: whether calls may be transferred by the other side. ``codecs``:
    names, best first, empty for all. ``tls``: the files of ``sipmikey.agent.TlsFiles`` by field, or a file of
    CA certificates. ``nat``: fields of ``sipmikey.nat.servers.NatSettings``. ``digest``: ``username`` and
    ``password``. ``ticket_keys``: each with ``owner``, ``key`` and ``key_id``, for modes that share one.
    ``bind``: the local address. ``stack``: the SIP stack, ``pjsua2`` or ``python``; empty: what the variable
    SIPMIKEY_TEST_STACK says, else the one that is installed.
    """

    identity: str
    kms: str = "sip:kms@example.com"
    kms_url: str = ""
    psk: str = ""
    psk_id: str = ""
    suites: tuple[str, ...] = ("256", "128")
    mode: str = "full"
    ticket_keys: tuple[Mapping[str, str], ...] = ()
    security: str = "required"
    fallback: str = "never"
    alternative: str = "none"
    retarget: str = "accept"
    contacts: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    transfer: bool = False
    bind: str = "127.0.0.1"
    stack: str = ""
    transports: tuple[str, ...] = ("udp", "tcp")
    proxy: str | None = None
    registrar: str | None = None
    digest: Mapping[str, str] | None = None
    tls: Mapping[str, str] | str | None = None
    nat: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    codecs: tuple[str, ...] = ()
    play: str = ""
    record: str = ""
    log: str = ""
    log_level: int = 4
    kms_timeout_s: float = 5.0
    setup_timeout_s: float = 20.0
    clock_offset_s: float = 0.0

    def change(self, **settings: Any) -> None:
        """Change settings. Raises `TypeError` for one that does not exist, `ValueError` for a wrong word."""
        names = tuple(entry.name for entry in dataclasses.fields(self))
        for name, value in settings.items():
            if name not in names:
                raise TypeError(f"an agent does not have a setting {name!r}; {nearest(name, names)}")
            for word in value if isinstance(value, tuple | list) else (value,):
                if name in _WORDS and word not in _WORDS[name]:
                    raise ValueError(f"{name}: {word!r} is not allowed; {nearest(str(word), _WORDS[name])}")
            setattr(self, name, value.hex() if isinstance(value, bytes) else value)

    def document(self) -> Fields:
        """Return the settings as `sipmikey.testing.agent_process` takes them."""
        keys = {
            "kms": self.kms,
            "psk": self.psk,
            "psk_id": self.psk_id,
            "suites": self.suites,
            "mode": self.mode,
            "ticket_keys": [dict(key) for key in self.ticket_keys],
        }
        policy = {
            "security": self.security,
            "fallback": self.fallback,
            "alternative": self.alternative,
            "retarget": self.retarget,
            "contacts": dict(self.contacts),
            "groups": self.groups,
            "transfer": self.transfer,
        }
        sip = {
            "bind": self.bind,
            "stack": self.stack or stack_of(self.identity),
            "transports": self.transports,
            "proxy": self.proxy,
            "registrar": self.registrar,
            "headers": dict(self.headers),
        }
        audio: Fields = {"play": self.play or None, "record": self.record or None}
        if self.codecs:
            audio["codecs"] = self.codecs
        return {
            "identity": self.identity,
            "kms_url": self.kms_url,
            "keys": keys if self.kms_url or self.ticket_keys else None,
            "policy": policy,
            "sip": sip,
            "digest": None if self.digest is None else dict(self.digest),
            "tls": dict(self.tls) if isinstance(self.tls, Mapping) else self.tls,
            "nat": dict(self.nat),
            "register": self.registrar is not None,
            "audio": audio,
            "timeouts": {"kms": self.kms_timeout_s, "setup": self.setup_timeout_s},
            "log_file": self.log,
            "log_level": self.log_level,
            "clock_offset_s": self.clock_offset_s,
        }
