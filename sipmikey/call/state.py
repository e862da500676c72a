"""The states of a call, and the one table of what leads from which to which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sipmikey.call import inputs as i


class CallState(StrEnum):
    """Where a call is.

    ``NEW``: nothing was sent or judged. ``CALLING``: the caller's INVITE is under way. ``CHOOSING``: the user
    is asked whether another party may be called. ``FETCHING``: the next INVITE waits for its ticket.
    ``ASKING``: the call is answered, and the user is asked whether that identity will do.

    ``RESOLVING``: the callee's KMS is asked. ``RINGING``: the callee's user may answer. ``ANSWERING``: the
    200 is made, and its ACK awaited.

    ``TALKING``: established. ``ENDING``: the stack was told to end it. ``OVER``: nothing follows.
    """

    NEW = "new"
    CALLING = "calling"
    CHOOSING = "choosing"
    FETCHING = "fetching"
    ASKING = "asking"
    RESOLVING = "resolving"
    RINGING = "ringing"
    ANSWERING = "answering"
    TALKING = "talking"
    ENDING = "ending"
    OVER = "over"


class Outcome(StrEnum):
    """What an input meant for the call."""

    STAYS = "stays"
    INVITES = "invites"
    CHOOSES = "chooses"
    FETCHES = "fetches"
    ASKS = "asks"
    RESOLVES = "resolves"
    RINGS = "rings"
    ANSWERS = "answers"
    TALKS = "talks"
    ENDS = "ends"
    FINISHES = "finishes"


_Row = dict[type[i.Input], dict[Outcome, CallState]]

_INVITES = {Outcome.INVITES: CallState.CALLING}
_CHOOSES = {Outcome.CHOOSES: CallState.CHOOSING}
_FETCHES = {Outcome.FETCHES: CallState.FETCHING}
_ASKS = {Outcome.ASKS: CallState.ASKING}
_RESOLVES = {Outcome.RESOLVES: CallState.RESOLVING}
_RINGS = {Outcome.RINGS: CallState.RINGING}
_ANSWERS = {Outcome.ANSWERS: CallState.ANSWERING}
_TALKS = {Outcome.TALKS: CallState.TALKING}
_AGAIN = _INVITES | _CHOOSES | _FETCHES
"""How a caller goes on after an INVITE that failed."""

_ALWAYS = (i.Hangup, i.Leave, i.GivenAway, i.Fault, i.NotSent, i.Disconnected, i.Rang, i.Sent, i.Received)
"""What may happen from the first INVITE to the end."""

_LAST = (i.Hangup, i.Leave, i.NotSent, i.Rang, i.Sent, i.Received)
"""What may still happen while the call ends."""

_WITHIN = (
    i.Refer, i.TransferAsked, i.TransferProgress, i.ReplacementAsked, i.Replaced, i.DtmfHeard,
)  # fmt: skip
"""Requests within an established call, of either side, and their outcomes."""

_MEDIA = (i.StreamCreated, i.StreamKeyed, i.Counted, i.Confirmed)


def _row(state: CallState, stays: tuple[type[i.Input], ...], moves: _Row) -> _Row:
    """Return the row of *state*: inputs that keep it, and those that may lead on. Any may end the call."""
    common = {Outcome.STAYS: state, Outcome.ENDS: CallState.ENDING, Outcome.FINISHES: CallState.OVER}
    return {kind: common | moves.get(kind, {}) for kind in (*stays, *moves)}


TABLE: Mapping[CallState, Mapping[type[i.Input], Mapping[Outcome, CallState]]] = {
    CallState.NEW: _row(
        CallState.NEW,
        (i.LocalDescription, *_ALWAYS),
        {i.Start: _INVITES | _RESOLVES | _RINGS},
    ),
    CallState.CALLING: _row(
        CallState.CALLING,
        (i.Attached, i.LocalDescription, i.RemoteOffer, i.TransferAsked, *_MEDIA, *_ALWAYS),
        {i.Received: _ASKS | _TALKS, i.Disconnected: _AGAIN},
    ),
    CallState.CHOOSING: _row(CallState.CHOOSING, _ALWAYS, {i.Decided: _INVITES | _FETCHES}),
    CallState.FETCHING: _row(CallState.FETCHING, _ALWAYS, {i.TicketGranted: _INVITES, i.TicketRefused: {}}),
    CallState.ASKING: _row(
        CallState.ASKING,
        (i.LocalDescription, i.RemoteOffer, i.TransferAsked, *_MEDIA, *_ALWAYS),
        {i.Decided: _TALKS},
    ),
    CallState.RESOLVING: _row(
        CallState.RESOLVING,
        (i.Attached, i.LocalDescription, i.KmsFailed, *_ALWAYS),
        {i.KmsAnswered: _RINGS | _RESOLVES},
    ),
    CallState.RINGING: _row(
        CallState.RINGING,
        (i.Attached, i.Ring, i.Reject, i.RemoteOffer, *_MEDIA, *_ALWAYS),
        {i.Accept: _ANSWERS, i.LocalDescription: _ANSWERS},
    ),
    CallState.ANSWERING: _row(
        CallState.ANSWERING,
        (i.Attached, i.LocalDescription, i.RemoteOffer, *_MEDIA, *_ALWAYS),
        {i.Confirmed: _TALKS},
    ),
    CallState.TALKING: _row(
        CallState.TALKING,
        (i.LocalDescription, i.RemoteOffer, i.Propose, *_WITHIN, *_MEDIA, *_ALWAYS),
        {},
    ),
    CallState.ENDING: _row(
        CallState.ENDING,
        (i.Attached, i.Confirmed, i.Replaced, i.TransferProgress, *_LAST),
        {i.Disconnected: _AGAIN},
    ),
    CallState.OVER: {},
}
"""Per state, the inputs that it takes, and to which state each outcome leads.

An input that a row does not have changes nothing: where the stack needs an answer it is a refusal, what the
user asks for is an error, and everything else is late and ignored (``CallMachine.take``).
"""
