"""What each part of a screen says, in every face."""

from __future__ import annotations

from sipmikey.phone.calls import Direction, Hold, ShownCall, Stage
from sipmikey.phone.conference import conference_of, conference_title
from sipmikey.phone.facts import Mood
from sipmikey.phone.history import OUTCOMES, HistoryEntry, mood_of
from sipmikey.phone.plain import duration
from sipmikey.phone.state import Account, Message, Phone, Recording
from sipmikey.phone.text import Text, Translate

STAGES = {
    Stage.CALLING: Text("calling"),
    Stage.RINGING: Text("rings there"),
    Stage.CHECKING: Text("call comes in"),
    Stage.INCOMING: Text("calls you"),
    Stage.ANSWERING: Text("answering"),
    Stage.TALKING: Text("talking"),
    Stage.ENDED: Text("ended"),
}
NOT_REGISTERED = Text("not registered: the server sends no calls here")
STARTING, QUIET, MUTED = Text("starting"), Text("do not disturb"), Text("microphone off")
EXPIRED = Text("its time is over: nobody can open it")
HOLDS = {
    Hold.OURS: Text("on hold"),
    Hold.THEIRS: Text("has put you on hold"),
    Hold.BOTH: Text("both on hold"),
}


def account_line(account: Account, tr: Translate) -> str:
    """Return one line about an account: whether it can be called, and why not."""
    name = account.identity or account.name
    if account.trouble is not None:
        return f"▲ {name}: {account.trouble.render(tr)}"
    if not account.engine:
        return f"◐ {name}: {STARTING.render(tr)}"
    if account.registered is False:
        return f"◐ {name}: {NOT_REGISTERED.render(tr)}"
    state = (
        Text("can be called")
        if account.registered
        else Text("ready at {contact}", {"contact": account.place})
    )
    quiet = f", {QUIET.render(tr)}" if account.do_not_disturb else ""
    muted = f", {MUTED.render(tr)}" if account.muted else ""
    waiting = Text("messages: {count}", {"count": str(account.messages_new)})
    messages = f", {waiting.render(tr)}" if account.messages_new else ""
    return f"● {name}: {state.render(tr)}{quiet}{muted}{messages}"


def account_lines(phone: Phone, chosen: Account | None, tr: Translate) -> str:
    """Return a line about each account; of several the one that new calls are made with is marked."""
    lines = [(account, account_line(account, tr)) for account in phone.accounts.values()]
    if len(lines) < 2:
        return "\n".join(line for _, line in lines)
    mine = Text("you call with this one").render(tr)
    return "\n".join(f"{line} ← {mine}" if account is chosen else line for account, line in lines)


def call_title(call: ShownCall, phone: Phone, tr: Translate) -> str:
    """Return who the other side is, and how far the call is; who is in the conference, where it is in one."""
    if (conference := conference_of(phone, call)) is not None:
        return conference_title(phone, conference, tr)
    return call_line(call, phone, tr)


def call_line(call: ShownCall, phone: Phone, tr: Translate) -> str:
    """Return one call of several in one line: those of the conference are marked."""
    mark = "⚭ " if conference_of(phone, call) is not None else ""
    return f"{mark}{_one(call, phone, tr)}"


def _one(call: ShownCall, phone: Phone, tr: Translate) -> str:
    stage = HOLDS.get(call.hold, STAGES[call.stage]) if call.stage is Stage.TALKING else STAGES[call.stage]
    return f"{caller(call, phone, tr)}: {stage.render(tr)}{_through(call, phone, tr)}"


def _through(call: ShownCall, phone: Phone, tr: Translate) -> str:
    """Return which account a call is of, where there are several."""
    account = phone.accounts.get(call.account)
    if account is None or len(phone.accounts) < 2:
        return ""
    who = {"identity": account.identity or account.name}
    text = Text("for {identity}", who) if call.direction is Direction.IN else Text("from {identity}", who)
    return f" ({text.render(tr)})"


def caller(call: ShownCall, phone: Phone, tr: Translate) -> str:
    """Return who the other side is, with the name that a caller gave itself marked as that."""
    name = phone.label(call.name)
    if not call.says:
        return name
    return Text('{name} (calls itself "{says}")', {"name": name, "says": call.says}).render(tr)


def call_text(call: ShownCall, phone: Phone, tr: Translate) -> str:
    """Return who calls, for a notification: whom the KMS vouches for, or that it is only a claim."""
    peer = call.facts[2]
    who = f"{caller(call, phone, tr)}{_through(call, phone, tr)}"
    return f"{who}\n{peer.word.render(tr)}. {peer.sentence.render(tr)}"


def recording_line(recording: Recording, phone: Phone, tr: Translate) -> str:
    """Return what happens with a message that is being said."""
    told = {"name": phone.label(recording.to), "longest": f"{recording.longest_s:.0f}"}
    if recording.sends:
        return Text("The message for {name} is protected and left.", told).render(tr)
    return Text("Speak now: a message for {name} is recorded, {longest} s at most.", told).render(tr)


def message_line(message: Message, phone: Phone, tr: Translate) -> str:
    """Return a message that was left in one line. Whom it is from is only what it says until it is heard."""
    shape = "▶" if message.playing else "○" if message.heard else "●"
    who = Text("says it is from {name}", {"name": phone.label(message.sender)})
    if message.peer:
        who = Text("from {name}", {"name": phone.label(message.peer)})
    late = f" ▲ {EXPIRED.render(tr)}" if message.expired else ""
    return f"{shape} {duration(message.duration_s)} {who.render(tr)}{late}"


def deleting(message: Message, phone: Phone, tr: Translate) -> str:
    """Return the question before a message is deleted."""
    name = phone.label(message.peer or message.sender)
    return Text("Delete the message of {name}?", {"name": name}).render(tr)


def report_line(path: str, tr: Translate) -> str:
    """Return where the report of a call is, whole, and what to do with it."""
    return f"{Text('The report is written. Read it before you send it:').render(tr)} {path}"


def history_line(entry: HistoryEntry, phone: Phone, tr: Translate) -> str:
    """Return a call of the history in one line, with its facts as they were."""
    arrow = "←" if entry.direction is Direction.IN else "→"
    shape = "▲" if mood_of(entry) is Mood.BAD else "○"
    talked = f" {duration(entry.duration_s)}" if entry.duration_s else ""
    outcome = OUTCOMES[entry.outcome].render(tr)
    return f"{arrow} {phone.label(entry.peer or entry.party)} {outcome}{talked} {shape} {tr(entry.media)}"
