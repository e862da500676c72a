"""A SIP dialog (RFC 3261 section 12): who is in it, where its requests go, and their numbers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from sipmikey.agent.asyncio_sip.writing import without_tag
from sipmikey.sip import Headers, SipMalformed, SipMessage, list_items

_MOST_CSEQ = 0x7FFFFFFF


@dataclass(slots=True, kw_only=True, eq=False)
class Dialog:
    """One dialog, early or confirmed. ``local`` and ``remote``: From and To of our requests, tags included.

    ``target``: the peer's Contact. ``routes``: in the order of our requests. ``numbers``: of our requests;
    the branches of one INVITE share them. ``takes_update``: the peer allows UPDATE.
    """

    call_id: str
    local: str
    remote: str
    remote_tag: str
    target: str
    routes: tuple[str, ...]
    numbers: itertools.count[int]
    takes_update: bool = False
    _last_of_peer: int = field(default=-1, init=False)

    @classmethod
    def of_response(cls, message: SipMessage, numbers: itertools.count[int]) -> Dialog:
        """Return the dialog that a response to our INVITE makes (section 12.1.2)."""
        return cls(
            call_id=message.first("call-id") or "",
            local=message.first("from") or "",
            remote=message.first("to") or "",
            remote_tag=message.to_tag,
            target=_contact(message) or "",
            routes=tuple(reversed(_routes(message))),
            numbers=numbers,
            takes_update=_allows_update(message),
        )

    @classmethod
    def of_invite(cls, invite: SipMessage, tag: str) -> Dialog:
        """Return the dialog of an INVITE that came, with our *tag* (section 12.1.1)."""
        made = cls(
            call_id=invite.first("call-id") or "",
            local=f"{without_tag(invite.first('to') or '')};tag={tag}",
            remote=invite.first("from") or "",
            remote_tag=invite.tag("from"),
            target=_contact(invite) or invite.uri("from") or "",
            routes=_routes(invite),
            numbers=itertools.count(1),
            takes_update=_allows_update(invite),
        )
        made.accepts(invite)
        return made

    def accepts(self, request: SipMessage) -> bool:
        """Note the number of a request of the peer; False where it is out of order (section 12.2.2)."""
        word = (request.first("cseq") or "").partition(" ")[0]
        number = int(word) if word.isdecimal() else -1
        if number < self._last_of_peer or number > _MOST_CSEQ * 2 + 1:
            return False
        self._last_of_peer = number
        return True

    def follow(self, message: SipMessage) -> None:
        """Send to the Contact of *message* from now on (section 12.2)."""
        self.target = _contact(message) or self.target
        self.takes_update = self.takes_update or _allows_update(message)

    def settle(self, message: SipMessage) -> None:
        """Take route set and target of the 2xx: they replace those of its provisional responses."""
        self.routes = tuple(reversed(_routes(message)))
        self.follow(message)

    @property
    def request_uri(self) -> str:
        """Request-URI of our requests (section 12.2.1.1)."""
        return self.target if self._loose else _uri(self.routes[0])

    @property
    def remote_uri(self) -> str:
        """The URI that the peer is known by: of its From or To."""
        return without_tag(self.remote).rpartition("<")[2].partition(">")[0].strip()

    @property
    def route_headers(self) -> Headers:
        """Route header fields of our requests."""
        if self._loose:
            return tuple(("Route", route) for route in self.routes)
        return tuple(("Route", route) for route in (*self.routes[1:], f"<{self.target}>"))

    @property
    def next_hop(self) -> str:
        """URI of where our requests go."""
        return _uri(self.routes[0]) if self.routes else self.target

    @property
    def _loose(self) -> bool:
        return not self.routes or ";lr" in _uri(self.routes[0]).lower()


def _uri(route: str) -> str:
    return route.partition("<")[2].partition(">")[0] or route.strip()


def _routes(message: SipMessage) -> tuple[str, ...]:
    return tuple(item for value in message.all("record-route") for item in list_items(value))


def _allows_update(message: SipMessage) -> bool:
    return any(
        word.strip().upper() == "UPDATE" for value in message.all("allow") for word in value.split(",")
    )


def _contact(message: SipMessage) -> str | None:
    try:
        return message.uri("contact")
    except SipMalformed:
        return None
