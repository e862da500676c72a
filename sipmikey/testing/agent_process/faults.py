"""What a test may have go wrong in the process of an agent, or have it tell."""

from __future__ import annotations

import time
from typing import Literal

from sipmikey import system
from sipmikey.agent.driver.call_driver import CallDriver
from sipmikey.agent.stack import SrtpKeys, StackCall, StreamCount
from sipmikey.sip import SipMessage
from sipmikey.testing.agent_process.lines import say


def reveal_keys(*, in_python: bool) -> None:
    """Print what SRTP is keyed with, beside keying it: for tests that decrypt a capture."""
    if in_python:
        from sipmikey.agent.asyncio_sip.session import Session

        _reveal_keys_of(Session)  # type: ignore[type-abstract]
        return
    from sipmikey.agent.isolation.calls import RemoteCall
    from sipmikey.agent.pjsua.call import PjsuaCall

    # The first where the stack has a process of its own, the second where it has not.
    _reveal_keys_of(RemoteCall)
    _reveal_keys_of(PjsuaCall)


def _reveal_keys_of(calls: type[StackCall]) -> None:
    key = calls.key

    def revealing(self: StackCall, index: int, keys: SrtpKeys) -> StreamCount | None:
        say(
            {
                "type": "kit.srtp_keys",
                "index": index,
                "suite": keys.suite,
                "send": keys.send.reveal().hex(),
                "receive": keys.receive.reveal().hex(),
            }
        )
        return key(self, index, keys)

    calls.key = revealing  # type: ignore[method-assign]


def judge_late(wait_s: float) -> None:
    """Let pjmedia run for *wait_s* seconds before a description that came in is looked at."""
    judge = CallDriver.on_message

    def late(self: CallDriver, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if direction == "received" and message.has_sdp:
            time.sleep(wait_s)
        judge(self, direction, message)

    CallDriver.on_message = late  # type: ignore[method-assign]


def shift_clock(seconds: float) -> None:
    """Let this process's clock be wrong."""
    true_ns = system.now_ns
    system.now_ns = lambda: true_ns() + round(seconds * 1e9)
