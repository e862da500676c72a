"""The options that leave a message, apart from what carries them out: that takes SRTP."""

from __future__ import annotations

import argparse
from pathlib import Path

from sipmikey.call.reasons import Reason

UNANSWERED = frozenset(
    {
        Reason.NO_ANSWER, Reason.SETUP_TIMEOUT, Reason.BUSY, Reason.DECLINED, Reason.NOT_FOUND,
        Reason.TRANSPORT_FAILED,
    }
)  # fmt: skip
"""Nobody took the call. A call that was refused for its security leaves no message."""


def add_leaving_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sipmikey call` that leave a message."""
    group = parser.add_argument_group("leaving a message (mailbox.url says where)")
    group.add_argument("--leave-message", action="store_true", help="if nobody answers, leave a message")
    group.add_argument(
        "--without-calling", action="store_true", help="leave the message at once, with --leave-message"
    )
    group.add_argument(
        "--message", type=Path, metavar="WAV", help="what the message says (else --play, else the microphone)"
    )
