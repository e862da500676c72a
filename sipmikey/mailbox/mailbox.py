"""The mailbox itself: what is taken, who may read, what is told. Clock and randomness are passed in."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.deferred.claims import facts_of
from sipmikey.deferred.deposit import parse_deposit
from sipmikey.mailbox.refusals import MailboxRefusal, no_such_message, unfit
from sipmikey.mailbox.settings import Depositors, MailboxSettings
from sipmikey.mailbox.store import KeptMessage, MailboxStore
from sipmikey.mikey.errors import PeerError
from sipmikey.rate_limit import address_key
from sipmikey.ticket.identity import same_identity

TOKEN_LENGTH = 32
"""Octets of a token; it is written in hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The party that asks, from the address ``source``. ``names``: those of a verified certificate."""

    source: str
    token: str = ""
    names: frozenset[str] = frozenset()


def token_digest(token: str) -> bytes:
    """Return what is kept of a token. It is random and long, so one pass of SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


class Mailbox:
    """*now* gives Unix seconds, *random* strong octets. *changed* is told of a box whose counts changed."""

    def __init__(
        self,
        store: MailboxStore,
        settings: MailboxSettings,
        *,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        changed: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self._store = store
        self._now = now
        self._random = random
        self._changed = changed

    def check_deposit(self, box: str, visitor: Visitor) -> str | None:
        """Judge a deposit before its octets are here; return the depositor, where it has proved who it is.

        Raises `MailboxRefusal`.
        """
        member = self._member(visitor)
        if member is None and self.settings.depositors is Depositors.MEMBERS:
            raise MailboxRefusal(401, "not-a-member", "only who has a box here may leave messages")
        if not self._store.has_box(box):
            raise MailboxRefusal(404, "no-such-box", "that identity does not have a box here")
        use = self._store.use(box)
        if use.new + use.old >= self.settings.box_messages or use.octets >= self.settings.box_bytes:
            raise MailboxRefusal(507, "box-full", "the box is full: its owner has to delete messages")
        if self._store.kept_of_source(address_key(visitor.source)) >= self.settings.source_messages:
            raise MailboxRefusal(429, "source-quota", "too many messages of this source are kept already")
        return member

    def deposit(self, box: str, octets: bytes, visitor: Visitor) -> KeptMessage:
        """Keep a deposit. Raises `MailboxRefusal`, also for what is wrong in the deposit, with its word."""
        member = self.check_deposit(box, visitor)
        now = self._now()
        if len(octets) > self.settings.message_bytes:
            raise MailboxRefusal(413, "limit-exceeded", f"at most {self.settings.message_bytes} octets")
        if self._store.use(box).octets + len(octets) > self.settings.box_bytes:
            raise MailboxRefusal(507, "box-full", "the box has no room for a message of that size")
        try:
            deposit = parse_deposit(octets)
            facts = facts_of(deposit.transfer_init)
        except PeerError as error:
            raise unfit(error) from None
        if not same_identity(facts.addressee, box):
            raise MailboxRefusal(422, "other-addressee", "the message is for another identity than the box")
        if self.settings.depositors is Depositors.MEMBERS and not same_identity(facts.sender, member or ""):
            raise MailboxRefusal(403, "other-sender", "the message names another sender than who leaves it")
        if facts.valid_until and facts.valid_until <= now:
            raise MailboxRefusal(422, "ticket-expired", "the message can no longer be opened")
        digest = hashlib.sha256(deposit.transfer_init).digest()
        if self._store.was_left(box, digest):
            raise MailboxRefusal(409, "replayed-message", "the same message was left before")
        message = KeptMessage(
            name=self._random(8).hex(), sender=facts.sender, deposited=now,
            expires=now + self.settings.keep_s, valid_until=facts.valid_until,
            duration_s=deposit.duration_s, size=len(octets), heard=False,
        )  # fmt: skip
        self._store.add(box, message, octets, source=address_key(visitor.source), digest=digest)
        self._changed(box)
        return message

    def messages(self, box: str, visitor: Visitor) -> tuple[KeptMessage, ...]:
        """Return what is in a box. Raises `MailboxRefusal` unless it is the visitor's."""
        self._check_owner(box, visitor)
        return self._store.messages(box)

    def fetch(self, box: str, name: str, visitor: Visitor) -> bytes:
        """Return a deposit. Raises `MailboxRefusal`."""
        self._check_owner(box, visitor)
        octets = self._store.octets(box, name)
        if octets is None:
            raise no_such_message()
        return octets

    def mark_heard(self, box: str, name: str, visitor: Visitor) -> None:
        """Note that a message was heard. Raises `MailboxRefusal`."""
        self._check_owner(box, visitor)
        if not self._store.mark_heard(box, name):
            raise no_such_message()
        self._changed(box)

    def delete(self, box: str, name: str, visitor: Visitor) -> None:
        """Delete a message. Raises `MailboxRefusal`."""
        self._check_owner(box, visitor)
        if not self._store.delete(box, name):
            raise no_such_message()
        self._changed(box)

    def prune(self) -> int:
        """Delete what was kept long enough; return how many boxes that concerned."""
        boxes = self._store.prune(self._now())
        for box in boxes:
            self._changed(box)
        return len(boxes)

    def _check_owner(self, box: str, visitor: Visitor) -> None:
        """Raise `MailboxRefusal` unless the visitor proves to own the box.

        The answer is the same for a box that does not exist: a stranger does not learn who has one.
        """
        kept = self._store.token_digest(box)
        shown = token_digest(visitor.token)
        by_token = bool(visitor.token) and kept is not None and hmac.compare_digest(kept, shown)
        if by_token or (self._named(visitor, box) and self._store.has_box(box)):
            return
        raise MailboxRefusal(401, "not-the-owner", "the token or certificate shown does not open this box")

    def _member(self, visitor: Visitor) -> str | None:
        """Return the box that the visitor proves to own."""
        if visitor.token:
            return self._store.box_of_token(token_digest(visitor.token))
        if not visitor.names:
            return None
        return next((box for box in self._store.boxes() if self._named(visitor, box)), None)

    @staticmethod
    def _named(visitor: Visitor, box: str) -> bool:
        return any(same_identity(name, box) for name in visitor.names)
