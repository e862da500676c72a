"""What the exit status of every command means. The numbers are stable."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of `sipmikey`; `meaning` is the line shown in `--help`."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> ExitCode:
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code

    OK = 0, "all calls ended as asked, security as required"
    CALL_FAILED = 1, "the call failed at SIP (its status is in the output)"
    USAGE = 2, "wrong option, configuration or input, or a missing extra"
    TRANSPORT = 3, "transport or registration failed"
    KMS = 4, "the KMS refused or could not be reached"
    PEER_REFUSED = 5, "the peer's MIKEY message was refused (MAC, clock, replay, identity, ...)"
    NO_KEY_MANAGEMENT = 6, "the peer refused or offered no key management"
    MEDIA = 7, "media up but not proven secure, or packets failed"
    TIMEOUT = 8, "timed out"
    MAILBOX = 9, "the mailbox refused or could not be reached"
    INTERNAL = 70, "internal error (a bug in sipmikey)"
    INTERRUPTED = 130, "interrupted by Ctrl-C before there was a result"


class CommandFailed(Exception):
    """A command cannot go on. ``code`` is its exit code, ``reason`` a word for programs."""

    def __init__(self, detail: str, *, code: ExitCode, reason: str) -> None:
        super().__init__(detail)
        self.code = code
        self.reason = reason


def table() -> str:
    """Return the exit codes as the text that ends every `--help`."""
    lines = [f"  {code.value:>3}  {code.meaning}" for code in ExitCode]
    return "exit codes:\n" + "\n".join(lines)


_BY_FAMILY = {
    "ended": ExitCode.OK,
    "sip": ExitCode.CALL_FAILED,
    "transport": ExitCode.TRANSPORT,
    "kms": ExitCode.KMS,
    "keying": ExitCode.PEER_REFUSED,
    "no-keying": ExitCode.NO_KEY_MANAGEMENT,
    "media": ExitCode.MEDIA,
    "timeout": ExitCode.TIMEOUT,
    "internal": ExitCode.INTERNAL,
}


def for_end(family: str, side: str) -> ExitCode:
    """Return the exit code of what ended for a reason of *family* (`sipmikey.agent.Family`) by *side*.

    What is wrong with an answer of the KMS is the KMS's fault, whatever the reason; and an internal error of
    the other side is not one here.
    """
    if side == "kms":
        return ExitCode.KMS
    if str(family) == "internal" and side != "local":
        return ExitCode.CALL_FAILED
    return _BY_FAMILY[str(family)]
