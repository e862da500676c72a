"""The kit's KMS with the identities of the lab."""

from __future__ import annotations

from pathlib import Path

from sipmikey.testing.kms import KmsDirectory, User
from tests.interop.lab.kamailio import DOMAIN
from tests.interop.lab.sip import bracketed

IDENTITY = f"sip:kms@{DOMAIN}"
RESPONDERS_OPEN = """
[limits.default]
ticket_key = "responder"
flags = { resolve_mandatory = "allowed", key_forking = "forced-off" }

[[rule]]
name = "all"
from = ["*"]
to = ["*"]
decision = "allow"
"""
"""A policy whose tickets are sealed for the callee, who opens them without the KMS."""


def uri(user: str) -> str:
    """The SIP identity of a lab user."""
    return f"sip:{user}@{DOMAIN}"


class Kms(KmsDirectory):
    """A KMS on the loopback address *host*. ``subscribers`` are the users added, by name."""

    def __init__(self, directory: Path, *, host: str = "127.0.0.1") -> None:
        super().__init__(directory, identity=IDENTITY, host=bracketed(host))
        self.subscribers: dict[str, User] = {}

    def add_user(self, user: str, *options: str) -> User:
        """Add a subscriber (further options of `kms user add` in *options*)."""
        self.subscribers[user] = self.add(uri(user), *options)
        return self.subscribers[user]
