"""The commands of `sipmikey agent --json` (docs/agent-json.md): one JSON object a line, checked here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeAlias

from sipmikey.mikey.errors import LocalError

PROTOCOL = 1
"""Version of the commands. It grows when one changes its meaning or goes away, not when one is added."""

MAX_LINE = 65536
"""Characters of the longest command."""

Read: TypeAlias = Callable[[object], object]


class BadCommand(LocalError):
    """A line that is not a command. ``identifier``: the ``id`` it had, None where it had none."""

    def __init__(self, detail: str, identifier: object = None) -> None:
        super().__init__(detail)
        self.identifier = identifier


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a command: how it is read, and what it is where it is left out (None: it must be given)."""

    read: Read
    help: str
    default: object = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Verb:
    """A command: what it does and its fields."""

    help: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was read. ``identifier``: its ``id``, None where nobody wants to know the outcome."""

    do: str
    values: Mapping[str, Any]
    identifier: str | int | None = None


def _text(value: object) -> object:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("a text is needed")
    return value.strip()


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isalnum():
        raise ValueError("the number of a call is needed")
    return str(value)


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _whole(least: int, most: int) -> Read:
    def read(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most} is needed")
        return value

    return read


def _any_text(value: object) -> object:
    if not isinstance(value, str) or not (value.isprintable()):
        raise ValueError("a text is needed")
    return value


def _decibels(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -60 <= value <= 20:
        raise ValueError("decibels from -60 to 20 are needed")
    return float(value)


def _role(*roles: str) -> Read:
    def read(value: object) -> object:
        if value not in roles:
            raise ValueError(f"allowed: {', '.join(roles)}")
        return value

    return read


def _digits(value: object) -> object:
    if not isinstance(value, str) or not value or not set(value) <= set("0123456789*#ABCD"):
        raise ValueError("digits are needed: 0-9, *, # and A-D")
    return value


_CALL = Field(_number, "number of the call")
_MESSAGE = Field(_text, "name of the message in `messages.listed`")
_URI = Field(_text, "SIP or tel URI")

VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "call": Verb(
            "call somebody; the result has `call`, the number",
            {"uri": _URI, "via": Field(_text, "SIP URI to send the INVITE to", optional=True)},
        ),
        "answer": Verb("answer a call that rings; calls that are answered are put on hold", {"call": _CALL}),
        "decline": Verb(
            "refuse a call that rings",
            {"call": _CALL, "status": Field(_whole(300, 699), "SIP status", 603, optional=True)},
        ),
        "busy": Verb("refuse a call that rings with 486 Busy Here", {"call": _CALL}),
        "hangup": Verb("end a call, in whatever state it is", {"call": _CALL}),
        "hold": Verb("put the other side on hold", {"call": _CALL}),
        "resume": Verb("take the other side off hold", {"call": _CALL}),
        "swap": Verb(
            "put all other calls on hold, and take this one, or its conference, off hold", {"call": _CALL}
        ),
        "digits": Verb("send DTMF digits (RFC 4733)", {"call": _CALL, "digits": Field(_digits, "digits")}),
        "transfer": Verb("have the other side call somebody (REFER)", {"call": _CALL, "uri": _URI}),
        "transfer-to": Verb(
            "connect the other sides of two calls and leave both",
            {"call": _CALL, "other": Field(_number, "number of the other call")},
        ),
        "conference": Verb(
            "let the other sides of two calls hear each other and us; a call may join those of a conference",
            {"call": _CALL, "other": Field(_number, "number of the other call")},
        ),
        "split": Verb("take a call out of the conference, on hold", {"call": _CALL}),
        "step-out": Verb(
            "let the others of a conference go on without us: we neither hear nor are heard", {"call": _CALL}
        ),
        "step-in": Verb("talk in the conference again; other calls are put on hold", {"call": _CALL}),
        "end-conference": Verb("end all calls of the conference that a call is in", {"call": _CALL}),
        "rekey": Verb("replace the keys of a call", {"call": _CALL}),
        "decide": Verb(
            "answer `policy.question`",
            {"call": _CALL, "accept": Field(_boolean, "whether to talk to `peer`")},
        ),
        "mute": Verb("send silence instead of the microphone", {"on": Field(_boolean, "muted?")}),
        "volume": Verb(
            "set the volume, in decibels; 0 is as it comes",
            {
                "role": Field(_role("input", "output"), "`input` or `output`"),
                "db": Field(_decibels, "-60 to 20"),
            },
        ),
        "devices": Verb("tell the sound devices (`agent.devices`)", {}),
        "device": Verb(
            "use another sound device, also in a call",
            {
                "role": Field(_role("input", "output", "ringer"), "`input`, `output` or `ringer`"),
                "name": Field(_any_text, "its name or a part of it; empty: the system's default"),
            },
        ),
        "do-not-disturb": Verb(
            "refuse calls with 480, or let them ring again", {"on": Field(_boolean, "refuse?")}
        ),
        "register": Verb("register now", {}),
        "unregister": Verb("remove the registration", {}),
        "watch": Verb(
            "have a server tell whether somebody can be reached (`presence.changed`)", {"uri": _URI}
        ),
        "unwatch": Verb("watch somebody no longer", {"uri": _URI}),
        "publish-presence": Verb(
            "tell those who watch us whether we can be reached",
            {
                "reachable": Field(_boolean, "can we be reached?"),
                "note": Field(_any_text, "in words", "", optional=True),
            },
        ),
        "prefetch": Verb("get a ticket now, so that the next call needs no KMS", {"uri": _URI}),
        "send-ahead": Verb(
            "have a ticket of ours resolved by whom it is for, so that a call needs no KMS at all;"
            " the result has `peer`, who did",
            {"uri": _URI},
        ),
        "messages": Verb(
            "look what is in our box at the mailbox (`messages.listed`); the result has `new`", {}
        ),
        "play-message": Verb(
            "have the KMS asked about a message in our box, play it on the speaker, and mark it as heard"
            " (`message.playing`, `message.played`); the result has `stopped`",
            {"message": _MESSAGE},
        ),
        "stop-message": Verb("stop the message that plays", {}),
        "leave-message": Verb(
            "leave a message for somebody: the WAV in `file` at once, else what is said into the microphone"
            " from now (`message.recording`) until `send-message`, or the longest time is over; the result"
            " has `sent`, and what `message.sent` has",
            {"uri": _URI, "file": Field(_text, "WAV file", optional=True)},
        ),
        "send-message": Verb("end the recording of a message, and leave it", {}),
        "drop-message": Verb("end the recording of a message, and throw it away; so does a call", {}),
        "delete-message": Verb("delete a message in our box", {"message": _MESSAGE}),
        "stats": Verb("count the packets of a call; the result has `streams`", {"call": _CALL}),
        "quit": Verb("end all calls, remove the registration, and end the process", {}),
    }
)
"""Name of the command (field `do`) -> what it does."""


def read_command(line: str) -> Command:
    """Return the command on *line*. Raises ``BadCommand`` naming the field and what it has to be."""
    if len(line) > MAX_LINE:
        raise BadCommand(f"a command has {MAX_LINE} characters at most")
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise BadCommand("this is not JSON: one object a line is needed") from None
    if not isinstance(given, dict):
        raise BadCommand("a JSON object is needed")
    identifier = given.pop("id", None)
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | None):
        raise BadCommand("id: a text or a whole number is needed")
    do = given.pop("do", None)
    if not isinstance(do, str) or do not in VERBS:
        raise BadCommand(f"do: {_unknown(do, tuple(VERBS))}", identifier)
    fields = VERBS[do].fields
    for name in given:
        if name not in fields:
            raise BadCommand(f"{do}: unknown field; {_unknown(name, tuple(fields))}", identifier)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if given.get(name) is None:
            if not field.optional:
                raise BadCommand(f"{do}: {name} is missing", identifier)
            values[name] = field.default
            continue
        try:
            values[name] = field.read(given[name])
        except ValueError as error:
            raise BadCommand(f"{do}: {name}: {error}", identifier) from None
    return Command(do=do, values=MappingProxyType(values), identifier=identifier)


def _unknown(word: object, allowed: tuple[str, ...]) -> str:
    close = get_close_matches(word, allowed, n=1) if isinstance(word, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"allowed: {', '.join(allowed) or 'none'}{hint}"


def commands_table() -> str:
    """Return every command as a row of a Markdown table; docs/agent-json.md holds it, and a test compares."""
    rows = ["| `do` | fields | what it does |", "|---|---|---|"]
    for name, verb in VERBS.items():
        fields = ", ".join(
            f"`{key}`{' (optional)' if field.optional else ''}: {field.help}"
            for key, field in verb.fields.items()
        )
        rows.append(f"| `{name}` | {fields} | {verb.help} |")
    return "\n".join(rows)
