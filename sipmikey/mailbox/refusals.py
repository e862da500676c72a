"""Why the mailbox refuses a request."""

from __future__ import annotations

from sipmikey.mikey.errors import PeerError, SipmikeyError


class MailboxRefusal(SipmikeyError):
    """A request is refused. ``status``: HTTP status. ``reason``: one word of a closed set.

    ``detail`` says why in words, without content; ``retry_after_s`` when to come again, if at all.
    """

    def __init__(self, status: int, reason: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


class StoreFailed(SipmikeyError):
    """The store does not answer: a full disk, a damaged or missing file, a lock held too long."""


def unfit(error: PeerError) -> MailboxRefusal:
    """Return the refusal of a deposit for *error*, which was found in it."""
    status = 413 if error.http_status == 413 else 422
    return MailboxRefusal(status, error.reason, str(error))


def no_such_message() -> MailboxRefusal:
    """Return the answer for a message that is not, or no more, in the box."""
    return MailboxRefusal(404, "no-such-message", "the box has no message of that name")
