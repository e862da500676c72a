"""The question to the user at the terminal: may another party answer than the one dialled?"""

from __future__ import annotations

import asyncio
import sys

from sipmikey.agent import Question
from sipmikey.mikey.errors import LocalError
from sipmikey.printable import printable

YES = frozenset({"y", "yes"})


async def ask_at_terminal(question: Question) -> bool:
    """Return True when the user says yes. Raises ``LocalError`` where standard input is not a terminal."""
    if not sys.stdin.isatty():
        raise LocalError("standard input is not a terminal, so the user cannot be asked (security.retarget)")
    print(printable(_text(question)), end=" ", file=sys.stderr, flush=True)
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()
    loop.add_reader(sys.stdin, answered.set)
    try:
        await answered.wait()
    except asyncio.CancelledError:
        print("no answer", file=sys.stderr)
        raise
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in YES


def _text(question: Question) -> str:
    if question.kms is None:
        return f"{question.called} is redirected to {question.peer}: call? [y/N]"
    return f"{question.peer} ({question.kms} vouches) answers for {question.called}: talk? [y/N]"
