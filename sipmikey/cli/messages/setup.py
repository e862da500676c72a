"""From a merged configuration to the mailbox and the KMS that messages need; and what failures come to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sipmikey.call.reasons import AgentError, reason_of, side_of
from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, for_end
from sipmikey.kms.client import ClientTls
from sipmikey.mailbox.client import MailboxClient, MailboxFailure, MailboxRefused
from sipmikey.mikey.errors import PeerError
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.identity import canonical

_CURES = {
    "not-the-owner": "is mailbox.token_file (or the certificate) that of the box?"
    " `sipmikey mailbox box add` makes another token",
    "not-a-member": "show that you have a box there: set mailbox.token_file",
    "no-such-box": "is it the right mailbox (mailbox.url, mailbox.domains)?"
    " `sipmikey mailbox box add` makes a box",
    "mailbox-failure": "is mailbox.url right, and does the mailbox run?",
}
"""Reason word -> what the user can do about it."""


def own_box(configuration: Configuration, group: str | None = None) -> str:
    """Return whose box is ours: our identity, or *group*, whose token we have.

    Raises ``ConfigurationError``.
    """
    if group is not None:
        box = canonical(group)
        if box not in configuration.mailbox.boxes:
            raise ConfigurationError(f"nothing opens the box of {box}: name its token in mailbox.boxes")
        return box
    if not configuration.identity.uri:
        raise ConfigurationError("no identity: set identity.uri, SIPMIKEY_IDENTITY_URI or --identity")
    return canonical(configuration.identity.uri)


def mailbox_of(configuration: Configuration, uri: str) -> MailboxClient:
    """Return the client for the mailbox of *uri*; our token is shown to our own mailbox only.

    Raises ``ConfigurationError``.
    """
    mailbox = configuration.mailbox
    domain = uri.rpartition("@")[2].partition(":")[0].partition(";")[0].lower()
    url = mailbox.domains.get(domain, mailbox.url)
    if not url:
        raise ConfigurationError(
            f"no mailbox is known for {uri}: set mailbox.url, --mailbox, or mailbox.domains"
        )
    ours = url == mailbox.url
    token = None
    if mailbox.token_file is not None and ours:
        token = read_secret_file(mailbox.token_file, "mailbox.token_file")
    tls = ClientTls(
        ca_file=mailbox.ca_file,
        certificate=mailbox.certificate_file if ours else None,
        private_key=mailbox.private_key_file if ours else None,
    )
    return MailboxClient(
        url, token=token, tls=tls, timeout_s=configuration.timeouts.mailbox,
        allow_plain_http=mailbox.plain_http,
    )  # fmt: skip


def own_mailbox(configuration: Configuration, group: str | None = None) -> MailboxClient:
    """Return the client for our box, or that of *group*.

    Raises ``ConfigurationError`` where nothing opens it.
    """
    if group is not None:
        file = Path(configuration.mailbox.boxes[own_box(configuration, group)])
        mailbox = replace(configuration.mailbox, token_file=file, certificate_file=None)
        configuration = replace(configuration, mailbox=mailbox)
    mailbox = configuration.mailbox
    if not mailbox.url:
        raise ConfigurationError("no mailbox: set mailbox.url, SIPMIKEY_MAILBOX_URL or --mailbox")
    if mailbox.token_file is None and mailbox.certificate_file is None:
        raise ConfigurationError(
            "nothing opens our box: set mailbox.token_file (`sipmikey mailbox box add` made the token)"
        )
    return mailbox_of(
        configuration if not mailbox.domains else _without_domains(configuration),
        own_box(configuration, group),
    )


def _without_domains(configuration: Configuration) -> Configuration:
    return replace(configuration, mailbox=replace(configuration.mailbox, domains={}))


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn what goes wrong with mailbox, KMS or message into ``CommandFailed``."""
    try:
        yield
    except (MailboxFailure, MailboxRefused) as error:
        word = error.word if isinstance(error, MailboxRefused) else error.reason
        cure = f"; {_CURES[word]}" if word in _CURES else ""
        raise CommandFailed(f"{error}{cure}", code=ExitCode.MAILBOX, reason=word) from None
    except (PeerError, AgentError) as error:
        reason = reason_of(error)
        word = error.reason if isinstance(error, PeerError) else str(reason)
        code = for_end(reason.family, side_of(error))
        raise CommandFailed(f"{word}: {error}", code=code, reason=word) from None
