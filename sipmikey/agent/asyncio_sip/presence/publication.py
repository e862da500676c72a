"""Our own presence, published (RFC 3903)."""

from __future__ import annotations

import itertools
import logging

from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means, Silent
from sipmikey.agent.asyncio_sip.wire.transactions import Later, Timer
from sipmikey.agent.asyncio_sip.writing import new_call_id, new_tag, own_address, route_through
from sipmikey.agent.config import AgentConfig
from sipmikey.sip import SipMessage
from sipmikey.sip.pidf import EVENT, MEDIA_TYPE, Presence

_log = logging.getLogger("sipmikey.agent.asyncio_sip")

_EXPIRES_S = 3600
_EARLIER_S = 5
_CONDITION_FAILED = 412
_INTERVAL_TOO_BRIEF = 423
_REFUSED = frozenset({403, 404, 405, 489, 501, 603, 604})
"""Answers to a PUBLISH that is not sent again."""


class Publication(Silent):
    """What we say of ourselves, kept at the server until it is withdrawn.

    One request at a time (RFC 3903 section 4): what is said meanwhile follows.
    """

    def __init__(self, config: AgentConfig, means: Means, later: Later) -> None:
        self._config = config
        self._means = means
        self._later = later
        self._call_id, self._tag = new_call_id(), new_tag()
        self._numbers = itertools.count(1)
        self._state: Presence | None = None
        self._published: Presence | None = None
        self._entity_tag = ""
        self._expires = _EXPIRES_S
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None

    @property
    def busy(self) -> bool:
        """True while the server has not confirmed that nothing is published."""
        return bool(self._entity_tag) or self._exchange is not None

    def say(self, state: Presence | None) -> None:
        """Publish *state* in the place of what was; None: withdraw it."""
        self._state = state
        if self._exchange is None:
            self._send()

    def stop(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.drop()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        state, config = self._state, self._config
        if state is None and not self._entity_tag:
            return
        self._published = state
        body = b"" if state is None else state.encode()
        headers = [("Event", EVENT), ("Expires", str(self._expires if state is not None else 0))]
        if self._entity_tag:
            headers.append(("SIP-If-Match", self._entity_tag))
        if body:
            headers.append(("Content-Type", MEDIA_TYPE))
        identity = own_address(config)
        draft = Draft(
            method="PUBLISH", uri=config.identity, hop=config.sip.proxy or config.identity,
            sender=f"{identity};tag={self._tag}", receiver=identity, call_id=self._call_id,
            number=lambda: next(self._numbers), headers=(*route_through(config.sip.proxy), *headers),
            content=body,
        )  # fmt: skip
        self._exchange = Exchange(self._means, draft, self)
        self._exchange.begin()

    def on_response(self, message: SipMessage) -> None:
        """The server answered."""
        if message.status < 200:
            return
        self._exchange = None
        brief = message.first("min-expires") or ""
        if message.status < 300:
            self._settle(message)
        elif message.status == _CONDITION_FAILED and self._entity_tag:
            self._entity_tag = ""
            self._send()
        elif message.status == _INTERVAL_TOO_BRIEF and brief.isdecimal() and int(brief) > self._expires:
            self._expires = min(int(brief), 1 << 31)
            self._send()
        else:
            self.on_failed(message.status, message.reason_phrase)

    def on_failed(self, status: int, reason: str) -> None:
        """The server did not take it: later again, unless it refused for good."""
        _log.warning("our presence was not published: %d %s", status, reason)
        self._exchange = None
        self._entity_tag = ""
        if self._state is not None and status not in _REFUSED:
            self._timer = self._later(self._config.sip.registration_retry_s, self._send)

    def _settle(self, message: SipMessage) -> None:
        self._entity_tag = "" if self._published is None else (message.first("sip-etag") or "").strip()
        if self._state != self._published:
            self._send()
            return
        word = message.first("expires") or ""
        granted = int(word) if word.isdecimal() else self._expires
        if self._published is not None:
            delay = max(min(granted, 1 << 31) - _EARLIER_S, granted // 2, 1)
            self._timer = self._later(delay, self._send)
