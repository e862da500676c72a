"""The steps that the window's assistant has carried out: those of `sipmikey setup`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sipmikey.cli.config.load import load
from sipmikey.cli.enrol.command import enrolled, kept
from sipmikey.cli.enrol.sign_on import signed_on
from sipmikey.cli.exit_codes import CommandFailed
from sipmikey.cli.phone.account import (
    Answers,
    check_enrolled,
    check_kms,
    check_server,
    domain_of,
    echo_of,
    keep,
    read_identity,
    read_key,
    read_password,
    read_server,
    read_url,
    try_call,
)
from sipmikey.kms.enrolment.codes import parse_invitation
from sipmikey.kms.enrolment.sign_on_documents import Begun
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.assistant import SetupAnswers, SignOnShown, TrialCall
from sipmikey.phone.edge.place import place_of
from sipmikey.sealed.vault import Vault


class AccountSteps:
    """Sets up the account whose configuration is written to *path*; see ``Steps`` for the methods."""

    def __init__(self, path: Path, vault: Vault, *, echo: str = "") -> None:
        self._path = path
        self._vault = vault
        self._echo = echo

    def kms_in(self, invitation: str) -> str:
        """Return the address of the KMS that *invitation* names, ``""`` for a code alone."""
        return parse_invitation(invitation).kms_url or ""

    def redeem(self, invitation: str, kms_url: str) -> Sequence[str]:
        """Redeem *invitation*, keep what came of it, and return what there is to tell."""
        parsed = parse_invitation(invitation)
        url = read_url("")(parsed.kms_url or kms_url)
        with _told():
            lines = [line.strip() for line in enrolled(parsed, url, self._path, self._vault)]
            asyncio.run(check_enrolled(self._path))
        return [*lines, str(place_of(self._vault))]

    def sign_on(
        self, kms_url: str, show: Callable[[SignOnShown], None], wait: Callable[[float], None]
    ) -> Sequence[str]:
        """Let the person sign on, keep what came of it, and return what there is to tell."""

        def shown(begun: Begun) -> None:
            address = begun.verification_uri
            show(
                SignOnShown(
                    address=address, code=begun.user_code, link=begun.verification_uri_complete or address
                )
            )

        with _told():
            enrolment = signed_on(read_url("")(kms_url), show=shown, wait=wait)
            lines = [line.strip() for line in kept(enrolment, self._path, self._vault)]
            asyncio.run(check_enrolled(self._path))
        return [*lines, str(place_of(self._vault))]

    def check_kms(self, typed: SetupAnswers) -> None:
        """Check the first three answers: the KMS gives a ticket for them."""
        with _told():
            asyncio.run(check_kms(_answers(typed)))

    def check_server(self, typed: SetupAnswers) -> None:
        """Check the last two answers: the SIP server takes the registration."""
        answers = _answers(typed)
        if answers.server:
            with _told():
                asyncio.run(check_server(answers))

    def keep(self, typed: SetupAnswers) -> Sequence[str]:
        """Keep the answers, and return what there is to tell."""
        keep(_answers(typed), self._path, self._vault)
        return [f"Written: {self._path}", str(place_of(self._vault))]

    def call_echo(self) -> TrialCall:
        """Call the echo service of the user's domain."""
        identity = load(path=self._path).configuration.identity.uri
        return asyncio.run(try_call(self._path, self._echo or echo_of(identity)))


def _answers(typed: SetupAnswers) -> Answers:
    identity = read_identity(typed.identity)
    return Answers(
        identity=identity, key=read_key(typed.key),
        kms_url=read_url(f"https://kms.{domain_of(identity)}")(typed.kms_url),
        server=read_server(typed.server), password=read_password(typed.password),
    )  # fmt: skip


@contextmanager
def _told() -> Iterator[None]:
    """Make what a command fails with an error that an assistant shows."""
    try:
        yield
    except CommandFailed as error:
        raise LocalError(str(error)) from None
