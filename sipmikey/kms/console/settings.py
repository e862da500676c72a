"""What the console is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sipmikey.kms.console.roles import People
from sipmikey.kms.openid.provider import OpenIdClient


class Finding(Protocol):
    """How a part of the KMS is."""

    @property
    def part(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """An OpenID provider. ``claim`` names a person; ``groups_claim`` lists groups, "" where none counts."""

    client: OpenIdClient
    claim: str = "email"
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """``url``: the console's own, without a slash at its end. ``idle_s``, ``session_s``: life of a session.

    ``kms_identity``, ``device_url``, ``invitation_minutes``: what invitations need. ``health`` looks at the
    KMS; ``policy_text`` reads the policy in force; ``policy_in_store``: it can be changed here.
    ``certificates``: people may sign in by a client certificate.
    """

    url: str
    people: People
    kms_identity: str
    device_url: str | None
    invitation_minutes: float
    health: Callable[[], Awaitable[Sequence[Finding]]]
    policy_text: Callable[[], Awaitable[str]]
    policy_in_store: bool
    certificates: bool
    oidc: OidcSettings | None
    idle_s: int = 900
    session_s: int = 28_800
