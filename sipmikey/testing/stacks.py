"""The SIP stacks of agents under test, where the environment chooses them."""

from __future__ import annotations

import os

VARIABLE = "SIPMIKEY_TEST_STACK"
"""`python` or `pjsua2` for all agents, or one for each side: `caller=pjsua2,callee=python`."""

STACKS = ("pjsua2", "python")
_CALLER = "alice"


def chosen_stacks() -> dict[str, str]:
    """Return the stacks that the environment names for ``caller`` and ``callee``; empty where it is silent.

    Raises ``ValueError`` for other words.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return {}
    sides = ("caller", "callee")
    named = (
        dict.fromkeys(sides, text) if text in STACKS else dict(p.partition("=")[::2] for p in text.split(","))
    )
    if not named.keys() <= set(sides) or not set(named.values()) <= set(STACKS):
        raise ValueError(f"{VARIABLE}={text!r}: say python, or pjsua2, or caller=pjsua2,callee=python")
    return named


def stack_of(identity: str) -> str:
    """Return the stack chosen for an agent, ``""`` for none. alice calls, and everybody else is called."""
    user = identity.rpartition(":")[2].partition("@")[0]
    return chosen_stacks().get("caller" if user == _CALLER else "callee", "")
