"""What a test uses instead of the kit's: a KMS, a proxy, a domain and a phone of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sipmikey.key_file import read_key_file
from sipmikey.mikey.errors import LocalError
from sipmikey.settings.toml import read_toml
from sipmikey.testing.agent_driver import TestFailure
from sipmikey.testing.kms import IDENTITY, User

DOMAIN = "example.com"
_FIELDS = frozenset({"psk_id", "psk_file", "username", "password"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneUnderTest:
    """A phone of one's own. ``uri``: its SIP identity; ``via``: where an INVITE goes, if not there."""

    uri: str
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What is one's own; what is empty is the kit's.

    ``domain``: of the identities. ``bind``: the address of the agents. ``proxy``: their outbound proxy, with
    which they register. ``digest``: ``username`` and ``password`` there, by identity. ``direct``: there is no
    proxy, not even the kit's: the phone under test is called where it is.
    """

    domain: str = DOMAIN
    bind: str = "127.0.0.1"
    proxy: str | None = None
    digest: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    direct: bool = False


class OwnKms:
    """A KMS of one's own, with the interface of `TestKms`. *users*: the subscribers that tests may be.

    `read_users` reads *users* from a file. The URL may be ``http`` on this machine only.
    """

    def __init__(self, url: str, users: Mapping[str, User], *, identity: str = IDENTITY) -> None:
        self.url = url
        self.identity = identity
        self._users = users

    def user(self, identity: str) -> User:
        """Return a subscriber; raise `TestFailure` for one that is not in the list."""
        if identity not in self._users:
            known = ", ".join(self._users) or "nobody"
            raise TestFailure(f"{identity} is not in the list of users (--call-users), which has {known}")
        return self._users[identity]

    def ticket_key(self, identity: str) -> Mapping[str, str]:
        """Refuse: a KMS of one's own shares ticket keys by its own means."""
        raise TestFailure(f"the KMS is your own: give {identity} the setting ticket_keys")

    def let_open(self, identity: str) -> None:
        """Refuse: the policy of a KMS of one's own says so."""
        raise TestFailure(f"the KMS is your own: its policy has to seal tickets for {identity} with its key")

    def seal_all(self) -> None:
        """Do nothing: nothing was changed."""

    def add_to_group(self, group: str, *members: str) -> None:
        """Refuse: a KMS of one's own has its own groups."""
        raise TestFailure(f"the KMS is your own: take {', '.join(members)} into {group} there")

    def remove_from_group(self, group: str, *members: str) -> None:
        """Refuse, as `add_to_group`."""
        raise TestFailure(f"the KMS is your own: put {', '.join(members)} out of {group} there")

    def delay(self, seconds: float) -> None:
        """Refuse: only the kit's KMS can be slow on request."""
        if seconds:
            raise TestFailure("the KMS is your own: put sipmikey.testing.door.Door before it to make it slow")

    def shut(self, shut: bool = True) -> None:
        """Refuse: only the kit's KMS can be shut on request."""
        if shut:
            raise TestFailure("the KMS is your own: put sipmikey.testing.door.Door before it to shut it")


def read_users(path: Path) -> tuple[dict[str, User], dict[str, Mapping[str, str]]]:
    """Return the users in a TOML file, and the SIP passwords of those that have one, by identity.

    A table for each identity: ``psk_id``, ``psk_file`` (relative to the file), and for a proxy that asks
    ``username`` and ``password``. Raises `LocalError` naming the table and the field.
    """
    tables = read_toml(path)
    users: dict[str, User] = {}
    digest: dict[str, Mapping[str, str]] = {}
    for identity, table in tables.items():
        _check(path, identity, table)
        key = read_key_file(path.parent / table["psk_file"], f"{path}: [{identity}] psk_file")
        users[identity] = User(identity=identity, psk=key.reveal().hex(), psk_id=table["psk_id"])
        if "password" in table:
            name = table.get("username") or identity.partition(":")[2].partition("@")[0]
            digest[identity] = {"username": name, "password": table["password"]}
    return users, digest


def _check(path: Path, identity: str, table: Any) -> None:
    if not isinstance(table, dict) or not {"psk_id", "psk_file"} <= table.keys():
        raise LocalError(f'{path}: ["{identity}"] needs psk_id and psk_file')
    if unknown := table.keys() - _FIELDS:
        allowed = ", ".join(sorted(_FIELDS))
        raise LocalError(f'{path}: ["{identity}"] {", ".join(sorted(unknown))}; allowed: {allowed}')
    if wrong := [name for name, value in table.items() if not isinstance(value, str)]:
        raise LocalError(f'{path}: ["{identity}"] {", ".join(wrong)}: a text is needed')
