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
    INTERNAL = 70, "internal error (a bug in sipmikey)"
    INTERRUPTED = 130, "interrupted by Ctrl-C before there was a result"


def table() -> str:
    """Return the exit codes as the text that ends every `--help`."""
    lines = [f"  {code.value:>3}  {code.meaning}" for code in ExitCode]
    return "exit codes:\n" + "\n".join(lines)


_BY_REASON = {
    "ended": ExitCode.OK,
    "hangup": ExitCode.OK,
    "timeout": ExitCode.TIMEOUT,
    "registration-failed": ExitCode.TRANSPORT,
    "transport-failed": ExitCode.TRANSPORT,
    "busy": ExitCode.CALL_FAILED,
    "declined": ExitCode.CALL_FAILED,
    "sip-failure": ExitCode.CALL_FAILED,
    "cancelled": ExitCode.CALL_FAILED,
    "interrupted": ExitCode.INTERRUPTED,
}

_BY_PREFIX = (
    ("kms-", ExitCode.KMS),
    ("key-mgmt-missing", ExitCode.NO_KEY_MANAGEMENT),
    ("no-key-management", ExitCode.NO_KEY_MANAGEMENT),
    ("plain-", ExitCode.NO_KEY_MANAGEMENT),
    ("sip-", ExitCode.CALL_FAILED),
    ("transport-", ExitCode.TRANSPORT),
    ("registration-", ExitCode.TRANSPORT),
    ("media-", ExitCode.MEDIA),
    ("srtp-", ExitCode.MEDIA),
)


def for_reason(reason: str) -> ExitCode:
    """Return the exit code of a call that ended for *reason* (a word of the closed set of reasons).

    A reason with no row of its own comes from a refused MIKEY message: that is the largest family.
    """
    if (code := _BY_REASON.get(reason)) is not None:
        return code
    for prefix, code in _BY_PREFIX:
        if reason.startswith(prefix):
            return code
    return ExitCode.PEER_REFUSED
