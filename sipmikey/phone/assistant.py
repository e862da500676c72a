"""What an assistant for the first start needs: it asks, and the steps given to it check, try and keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sipmikey.phone.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupAnswers:
    """The five answers as they were typed. ``server`` is ``""`` for calls without a SIP server."""

    identity: str
    kms_url: str
    key: str = field(repr=False)
    server: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOnShown:
    """Where a person signs on, and with which code. ``link``: the address with the code in it, for a QR."""

    address: str
    code: str
    link: str


@dataclass(frozen=True, slots=True)
class TrialCall:
    """How the test call went. ``protected``: it was proven from end to end."""

    text: Text
    protected: bool = False


class Steps(Protocol):
    """The steps that set an account up. Each may take seconds; ``LocalError`` says what is wrong."""

    def kms_in(self, invitation: str) -> str:
        """Return the address of the KMS that *invitation* names, ``""`` for a code alone."""

    def redeem(self, invitation: str, kms_url: str) -> Sequence[str]:
        """Redeem *invitation*, keep what came of it, and return what there is to tell."""

    def sign_on(
        self, kms_url: str, show: Callable[[SignOnShown], None], wait: Callable[[float], None]
    ) -> Sequence[str]:
        """Let the person sign on at the organisation of the KMS; keep what came of it and tell as `redeem`.

        *show* is given where and with which code. *wait* passes seconds until the KMS is asked again, and
        raises ``LocalError`` to give up.
        """

    def check_kms(self, typed: SetupAnswers) -> None:
        """Check the first three answers: the KMS gives a ticket for them."""

    def check_server(self, typed: SetupAnswers) -> None:
        """Check the last two answers: the SIP server takes the registration."""

    def keep(self, typed: SetupAnswers) -> Sequence[str]:
        """Keep the answers, and return what there is to tell."""

    def call_echo(self) -> TrialCall:
        """Call the echo service of the user's domain."""
