"""Offers within a call: hold, resume, refresh, new keys. One at a time; glare (491) is tried again.

A change that the user asks for while another is under way waits until that one is over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.call.ending import Ending
from sipmikey.call.inputs import Kind, Message
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.keying import Keying
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import ChangeDone, Reinvite, Timer, Update
from sipmikey.call.reasons import AgentError, Reason, reason_of_status

MOST_TRIES = 4
"""How often a change that meets one of the peer's (491) is tried before it is given up."""

_REQUEST_PENDING = 491
_CHALLENGES = (401, 407)
_CHALLENGED_S = 4.0
_OWNER_S, _OTHER_S, _SPAN_S = 2.1, 0.0, 1.9


@dataclass(slots=True, kw_only=True)
class _Change:
    """A change under way. ``token`` None: the call itself wants it."""

    kind: Kind
    token: int | None
    update: bool = False
    tries: int = 0


def renews_keys(kind: Kind, keying: Keying) -> bool:
    """Return whether a change gives new keys: after a restart media begins at packet 0 again."""
    return kind is Kind.REKEY or (kind is Kind.RESTART and keying.kind.gives_keys)


class Renegotiation:
    """The offer under way, ours or the peer's. *owner*: True where this side made the Call-ID.

    *random* gives random octets, for the time until a change that met glare is tried again.
    """

    def __init__(self, out: Outbox, random: Callable[[int], bytes], *, owner: bool) -> None:
        self._out = out
        self._random = random
        self._owner = owner
        self._change: _Change | None = None
        self._waiting: _Change | None = None
        self._asked = False
        self._requested = False
        self._challenged = False
        self._offering = False
        self._offered_in_200 = False
        self._answering = False
        self._made: Agreement | None = None

    @property
    def busy(self) -> bool:
        """True while an offer of this side, or a change it waits to try again, is under way."""
        return self._offering or self._change is not None

    @property
    def answering(self) -> bool:
        """True while an offer of the peer waits for the description that answers it."""
        return self._answering

    @property
    def answer_made(self) -> bool:
        """True while the answer to an offer of the peer is made, and has not gone out."""
        return self._made is not None

    # What this side wants

    def propose(self, kind: Kind, token: int | None, *, update: bool = False) -> None:
        """Ask the peer for a change, after the one under way (RFC 3264 section 4: one offer at a time).

        Raises ``AgentError`` where another waits already, and for what the call itself wants (*token* None)
        also while one is under way.
        """
        change = _Change(kind=kind, token=token, update=update)
        if not self.busy:
            self._change = change
            self.send()
        elif token is None or self._waiting is not None:
            which = "an offer is under way" if token is None else "another change waits already"
            raise AgentError(Reason.UNEXPECTED_MESSAGE, which, side="local")
        else:
            self._waiting = change

    def go_on(self) -> None:
        """Send the change that waits, when none is under way any more."""
        if self._waiting is not None and not self.busy:
            self._change, self._waiting = self._waiting, None
            self.send()

    def again(self, keying: Keying) -> bool:
        """The time is over until the change is tried again, or the stack should have answered a challenge.

        Return True when the call itself wanted the change and will not get it.
        """
        if not self._challenged:
            self.send()
            return False
        keying.abandon()
        self._offering = self._challenged = self._requested = False
        return self._finish(AgentError(Reason.UNAUTHORIZED, "the request was not authorized", sip_status=401))

    def send(self) -> None:
        """Send the request of the change under way, if there is one."""
        change = self._change
        if change is None:
            return
        change.tries += 1
        self._asked = True
        self._out.put(
            Update()
            if change.update
            else Reinvite(
                hold=change.kind is Kind.HOLD,
                unhold=change.kind is Kind.RESUME,
                moved=change.kind in (Kind.MOVE, Kind.RESTART),
                restart=change.kind is Kind.RESTART,
            )
        )

    def not_sent(self, keying: Keying, error: BaseException) -> bool:
        """The stack did not send the request, as while one of the peer's is being answered.

        Return True when the call itself wanted the change and will not get it.
        """
        self._asked = self._requested = False
        if self._offering and not self._offered_in_200:
            keying.abandon()
            self._offering = False
        if self._change is not None and self._try_later(self._change):
            return False
        return self._finish(error)

    def _try_later(self, change: _Change) -> bool:
        if change.tries >= MOST_TRIES:
            return False
        number = int.from_bytes(self._random(4), "big")
        self._out.start(Timer.GLARE, glare_wait_s(call_id_owner=self._owner, random=number))
        return True

    def _finish(self, error: BaseException | None) -> bool:
        """End the change under way; return True when the call itself wanted it and did not get it."""
        change, self._change = self._change, None
        if change is None:
            return False
        if change.token is None:
            return error is not None
        self._out.put(ChangeDone(token=change.token, error=error))
        return False

    # Descriptions

    def describe(self, keying: Keying, sdp: str) -> str:
        """Return what to send instead of the stack's description, an answer or an offer."""
        if self._answering:
            self._answering = False
            text, self._made = keying.make_answer(sdp)
            return text
        # Where this side asked for no offer, the stack makes one for its 200 to a re-INVITE without an offer.
        asked, self._asked = self._asked, False
        self._requested = asked
        self._offering, self._offered_in_200 = True, not asked
        kind = self._change.kind if asked and self._change is not None else None
        return keying.make_offer(sdp, rekey=kind is not None and renews_keys(kind, keying))

    def receive_offer(self, keying: Keying, sdp: str, to_tag: str = "") -> None:
        """Take an offer of the peer; raises a ``PeerError`` to refuse it.

        *to_tag*: of the branch that offers, where none has the call yet.
        """
        keying.receive_offer(sdp, to_tag)
        self._answering = True

    def drop_offer(self, keying: Keying) -> None:
        """The offer of the peer gets no answer: what was agreed before stays."""
        keying.abandon()
        self._answering, self._made = False, None

    def sent(self, keying: Keying, message: Message) -> Agreement | None:
        """Check a message that went out; return what is in force from now on, None for nothing new."""
        if message.sdp is None:
            return None
        if message.status == 0:
            # With ICE the stack sends an UPDATE by itself, to tell which addresses were chosen.
            self._offered_in_200 = False
        if self._offering and (message.status == 0 or self._offered_in_200):
            if self._challenged:
                self._challenged = False
                self._out.stop(Timer.GLARE)
            keying.check_sent(message.sdp, message.transport)
        elif message.status // 100 == 2 and self._made is not None:
            keying.check_sent(message.sdp, message.transport)
            made, self._made = self._made, None
            return made
        return None

    def received(self, keying: Keying, message: Message, to_tag: str) -> Agreement | None:
        """Take an answer of the peer; return what is in force from now on, None for nothing new."""
        answer = message.method == "ACK" if self._offered_in_200 else message.status >= 200
        if not self._offering or not answer or message.status in _CHALLENGES:
            return None
        self._offering = self._offered_in_200 = False
        if message.status >= 300:
            keying.abandon()
            return None
        return keying.receive_answer(message.sdp, to_tag)

    def answered(self, message: Message) -> bool:
        """Take a response to the request; one that is not final changes nothing.

        Return True when the call itself wanted the change and did not get it.
        """
        change = self._change
        if change is None or message.status < 200 or not self._requested:
            # A 200 of the call's own INVITE may come once more before the request goes out.
            return False
        if message.status in _CHALLENGES and not self._challenged:
            # The stack sends the same offer once more, if it has a password.
            self._challenged = True
            self._out.start(Timer.GLARE, _CHALLENGED_S)
            return False
        self._requested = False
        if message.status == _REQUEST_PENDING and self._try_later(change):
            return False
        if message.status < 300:
            return self._finish(None)
        reason = reason_of_status(message.status, warning=message.warning)
        return self._finish(AgentError(reason, message.warning or message.phrase, sip_status=message.status))

    def forget(self, ending: Ending | None) -> None:
        """The INVITE is over because of *ending*: nothing more is tried, what was asked for failed."""
        self._out.stop(Timer.GLARE)
        for change in (self._change, self._waiting):
            if change is not None and change.token is not None:
                self._out.put(ChangeDone(token=change.token, error=None if ending is None else ending.error))
        self._change = self._waiting = None
        self._made = None
        self._asked = self._requested = self._offering = self._answering = False
        self._offered_in_200 = self._challenged = False


def glare_wait_s(*, call_id_owner: bool, random: int) -> float:
    """Return seconds until a request refused with 491 is tried again (RFC 3261 section 14.1).

    Between 2.1 and 4 s for the side that made the Call-ID, up to 2 s for the other, in steps of 10 ms;
    *random* is any number.
    """
    start = _OWNER_S if call_id_owner else _OTHER_S
    return start + (random % 191) / 190 * _SPAN_S
