"""What a refusal of a KMS asks its user to do."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC
from types import MappingProxyType
from typing import Final

NEXT_STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "auth-failure": "the KMS has another key for kms.psk_id than kms.psk_file (or kms.psk) holds: a wrong"
        " file, or a key that was rotated; ask the administrator of the KMS for the present one",
        "unknown-key": "the KMS knows no active key of that name: check kms.psk_id and identity.uri, or ask"
        " the administrator of the KMS whether the subscriber is disabled or the key has expired",
        "identity-not-owned": "the key of kms.psk_id belongs to another subscriber than identity.uri: set"
        " identity.uri to the identity that the key was made for",
        "invalid-identity": "check kms.identity, the name of the KMS at kms.url, and identity.uri",
        "not-authorized": "the policy of the KMS forbids it: ask the administrator of the KMS",
        "replayed-message": "the KMS has seen this message before: try again",
        "unsupported-prf": "the KMS does not take the first suite of security.suites: change their order",
        "untrusted-kms": "the KMS does not pass tickets on to the KMS that made this one (its [peers])",
        "forwarding-loop": "the KMSs pass the ticket on in a circle: check their [peers]",
    }
)
"""Word that the KMS gives (header KMS-Reason) -> what to do; settings are named as in a configuration."""

_TOLD_FROM_S = 2.0
"""Differences of clocks below this are the network's."""


def next_step(word: str, *, date: str | None, now_s: float) -> str:
    """Return what to do about a refusal with *word*; ``""`` where there is nothing to say.

    *date*: the Date header of the answer, which tells the KMS's clock; *now_s*: Unix time of this machine.
    """
    if word == "invalid-timestamp":
        return clock_words(date, now_s) or "the clock of this machine or of the KMS is wrong: set both by NTP"
    return NEXT_STEPS.get(word, "")


def clock_words(date: str | None, now_s: float) -> str:
    """Return by how much the clock of this machine differs from that of *date*, ``""`` if it hardly does."""
    try:
        told = email.utils.parsedate_to_datetime(date or "")
    except ValueError:
        return ""
    ahead_s = now_s - (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    if abs(ahead_s) < _TOLD_FROM_S:
        return ""
    way = "ahead of" if ahead_s > 0 else "behind"
    return f"the clock of this machine is about {abs(ahead_s):.0f} s {way} that of the KMS: set it by NTP"
