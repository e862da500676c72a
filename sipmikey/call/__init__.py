"""A call as a machine without I/O: inputs in, outputs out, for caller and callee.

`CallerMachine` and `CalleeMachine` take the classes of `inputs` and return those of `outputs`, among them the
`events` that tell what happens. An agent or a SIP stack of your own carries the outputs out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sipmikey.on_use import on_use

if TYPE_CHECKING:
    from sipmikey.call import events, inputs, outputs
    from sipmikey.call.callee import CalleeMachine, Invitation
    from sipmikey.call.caller import CallerMachine, Keyings
    from sipmikey.call.ending import Ending
    from sipmikey.call.inviting.consent import Question
    from sipmikey.call.keying.agreement import Agreement, StreamKeys
    from sipmikey.call.keying.keying import Keying, KeyingKind, Words
    from sipmikey.call.keying.known import add_keying
    from sipmikey.call.keying.lanes import Lane, SrtpKeys
    from sipmikey.call.keying.means import Incoming, Means, Outgoing
    from sipmikey.call.keying.standard import StandardKeyings
    from sipmikey.call.keying.without_kms import WithoutKms
    from sipmikey.call.machine import CallMachine
    from sipmikey.call.policy import CallPolicy, Fallback, Retarget, SecurityMode
    from sipmikey.call.reasons import AgentError, Family, Reason, Side
    from sipmikey.call.settings import CallSettings, Patience
    from sipmikey.call.state import CallState

__all__ = [
    "AgentError",
    "Agreement",
    "CallMachine",
    "CallPolicy",
    "CallSettings",
    "CallState",
    "CalleeMachine",
    "CallerMachine",
    "Ending",
    "Fallback",
    "Family",
    "Incoming",
    "Invitation",
    "Keying",
    "KeyingKind",
    "Keyings",
    "Lane",
    "Means",
    "Outgoing",
    "Patience",
    "Question",
    "Reason",
    "Retarget",
    "SecurityMode",
    "Side",
    "SrtpKeys",
    "StandardKeyings",
    "StreamKeys",
    "WithoutKms",
    "Words",
    "add_keying",
    "events",
    "inputs",
    "outputs",
]

# Imported when asked for: the process of the SIP stack needs few of these, and starts again when it dies.
_find = on_use(
    __name__,
    {
        "CalleeMachine": "sipmikey.call.callee",
        "Invitation": "sipmikey.call.callee",
        "CallerMachine": "sipmikey.call.caller",
        "Keyings": "sipmikey.call.caller",
        "Question": "sipmikey.call.inviting.consent",
        "Ending": "sipmikey.call.ending",
        "Agreement": "sipmikey.call.keying.agreement",
        "Keying": "sipmikey.call.keying.keying",
        "StreamKeys": "sipmikey.call.keying.agreement",
        "WithoutKms": "sipmikey.call.keying.without_kms",
        "Incoming": "sipmikey.call.keying.means",
        "KeyingKind": "sipmikey.call.keying.keying",
        "Outgoing": "sipmikey.call.keying.means",
        "Words": "sipmikey.call.keying.keying",
        "add_keying": "sipmikey.call.keying.known",
        "Lane": "sipmikey.call.keying.lanes",
        "SrtpKeys": "sipmikey.call.keying.lanes",
        "Means": "sipmikey.call.keying.means",
        "StandardKeyings": "sipmikey.call.keying.standard",
        "CallMachine": "sipmikey.call.machine",
        "CallPolicy": "sipmikey.call.policy",
        "Fallback": "sipmikey.call.policy",
        "Retarget": "sipmikey.call.policy",
        "SecurityMode": "sipmikey.call.policy",
        "AgentError": "sipmikey.call.reasons",
        "Family": "sipmikey.call.reasons",
        "Reason": "sipmikey.call.reasons",
        "Side": "sipmikey.call.reasons",
        "CallSettings": "sipmikey.call.settings",
        "Patience": "sipmikey.call.settings",
        "CallState": "sipmikey.call.state",
    },
)

_MODULES = ("events", "inputs", "outputs")


def __getattr__(name: str) -> object:
    return import_module(f"sipmikey.call.{name}") if name in _MODULES else _find(name)
