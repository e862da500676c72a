"""What may be done in which state, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sipmikey.call.keying.known import kind_named
from sipmikey.phone.calls import Hold, ShownCall, Stage
from sipmikey.phone.conference import conference_of, outside
from sipmikey.phone.documents import text
from sipmikey.phone.state import Account, Phone
from sipmikey.phone.text import Text

MAX_CALLS = 4
"""Calls that one account holds at a time (a limit of the SIP stack)."""


class Action(StrEnum):
    """What a person may want to do. The words are those of the commands (docs/agent-json.md)."""

    DIAL = "call"
    ANSWER = "answer"
    DECLINE = "decline"
    BUSY = "busy"
    HANGUP = "hangup"
    HOLD = "hold"
    RESUME = "resume"
    SWAP = "swap"
    MUTE = "mute"
    UNMUTE = "unmute"
    VOLUME = "volume"
    DIGITS = "digits"
    TRANSFER = "transfer"
    TRANSFER_TO = "transfer-to"
    CONFERENCE = "conference"
    SPLIT = "split"
    STEP_OUT = "step-out"
    STEP_IN = "step-in"
    END_CONFERENCE = "end-conference"
    REKEY = "rekey"
    DO_NOT_DISTURB = "do-not-disturb"
    LEAVE_MESSAGE = "leave-message"


@dataclass(frozen=True, slots=True)
class Possible:
    """True where *action* may be done now; ``why_not`` is None when it may."""

    action: Action
    why_not: Text | None = None

    @property
    def may(self) -> bool:
        """True when it may be done."""
        return self.why_not is None


_OVER = Text("The call is over.")
_NOT_ANSWERED = Text("The call is not answered yet.")
_NOT_RINGING = Text("The call does not wait for an answer.")
_STILL_CHECKING = Text("The KMS is still being asked who calls.")
_ALREADY_HELD = Text("The other side is on hold already.")
_NOT_HELD = Text("The other side is not on hold.")
_NO_KEYS = Text("The keys of this call do not come from a ticket.")
_NO_OTHER = Text("There is no other call that is answered.")
_NO_OUTSIDE = Text("There is no other call that could join.")
_NO_CONFERENCE = Text("The call is not in a conference.")
_AWAY = Text("You are out of the conference already.")
_PRESENT = Text("You are in the conference.")
_MUTED = Text("The microphone is off already.")
_NOT_MUTED = Text("The microphone is on.")
_NO_FEATURE = Text("The engine that makes the calls cannot do this.")
_NO_ENGINE = Text("The engine that makes the calls is not running.")
_NO_ACCOUNT = Text("No account is set up. Run sipmikey setup.")
_NO_MAILBOX = Text("No mailbox is set up: set mailbox.url in the configuration.")
_RECORDING = Text("A message is recorded already.")
_BUSY = Text("You are in a call. End it first.")
_FULL = Text("There are four calls already. End one first.")


def call_actions(phone: Phone, call: ShownCall) -> dict[Action, Possible]:
    """Return what may be done with *call*, and why the rest may not."""
    account = phone.accounts.get(call.account)
    talking = None if call.stage is Stage.TALKING else _OVER if not call.live else _NOT_ANSWERED
    rings = None if call.stage is Stage.INCOMING else _STILL_CHECKING
    if call.stage not in (Stage.INCOMING, Stage.CHECKING):
        rings = _NOT_RINGING
    held = call.hold in (Hold.OURS, Hold.BOTH)
    muted = account is not None and account.muted
    kind = kind_named(text(call.security, "keying"))
    renews = kind is not None and kind.renews
    others = any(
        one.stage is Stage.TALKING and one.key != call.key and one.account == call.account
        for one in phone.live
    )
    other = talking or (None if others else _NO_OTHER)
    swap = talking or (None if outside(phone, call) is not None else _NO_OTHER)
    reasons: dict[Action, Text | None] = {
        Action.ANSWER: rings,
        Action.DECLINE: rings,
        Action.BUSY: rings,
        Action.HANGUP: None if call.live else _OVER,
        Action.HOLD: talking or (_ALREADY_HELD if held else None),
        Action.RESUME: talking or (None if held else _NOT_HELD),
        Action.SWAP: swap,
        Action.MUTE: talking or (_MUTED if muted else _lacks(account, "mute")),
        Action.UNMUTE: talking or (_lacks(account, "mute") if muted else _NOT_MUTED),
        Action.VOLUME: talking or _lacks(account, "volume"),
        Action.DIGITS: talking,
        Action.TRANSFER: talking,
        Action.TRANSFER_TO: other,
        **_conference_actions(phone, call, talking),
        Action.REKEY: talking or (None if renews else _NO_KEYS),
    }
    if account is None or not account.engine:
        reasons = {action: reason or _NO_ENGINE for action, reason in reasons.items()}
    return {action: Possible(action, reason) for action, reason in reasons.items()}


def _conference_actions(phone: Phone, call: ShownCall, talking: Text | None) -> dict[Action, Text | None]:
    account, conference = phone.accounts.get(call.account), conference_of(phone, call)
    lonely = None if outside(phone, call) is not None else _NO_OUTSIDE
    absent = _NO_CONFERENCE if conference is None else None
    away = conference is not None and not conference.present
    return {
        Action.CONFERENCE: talking or lonely or _lacks(account, "conference"),
        Action.SPLIT: absent,
        Action.STEP_OUT: absent or (_AWAY if away else None),
        Action.STEP_IN: absent or (None if away else _PRESENT),
        Action.END_CONFERENCE: absent,
    }


def phone_actions(phone: Phone, account: str) -> dict[Action, Possible]:
    """Return what may be done with *account* apart from its calls."""
    known = phone.accounts.get(account)
    stopped = _NO_ACCOUNT if known is None else None if known.engine else known.trouble or _NO_ENGINE
    full = _FULL if sum(call.account == account for call in phone.live) >= MAX_CALLS else None
    return {
        Action.DIAL: Possible(Action.DIAL, stopped or full),
        Action.DO_NOT_DISTURB: Possible(Action.DO_NOT_DISTURB, stopped),
        Action.LEAVE_MESSAGE: Possible(Action.LEAVE_MESSAGE, stopped or _no_message(phone, known)),
    }


def _no_message(phone: Phone, account: Account | None) -> Text | None:
    if account is None or "leave-message" not in account.features:
        return _NO_MAILBOX
    if account.name in phone.recordings:
        return _RECORDING
    return _BUSY if any(one.account == account.name for one in phone.live) else None


def may(phone: Phone, call: ShownCall, action: Action) -> bool:
    """Return True when *action* may be done with *call* now."""
    return call_actions(phone, call)[action].may


def _lacks(account: Account | None, feature: str) -> Text | None:
    return None if account is not None and feature in account.features else _NO_FEATURE
