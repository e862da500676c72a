"""How much of a message this side is willing to process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds, checked before anything is allocated for what they bound.

    ``message_bytes``: octets of a whole message. ``payloads``: payloads of one chain (a message, TP Data,
    Ticket Data, Initiator Data or the plaintext of a KEMAC). ``crypto_sessions``: entries of the CS ID map.
    ``certificates``: CERT payloads of a message, and so the length of a chain. ``policy_parameters``:
    parameters of one SP payload. ``nesting``: TP Data inside TP Data, which nothing needs and a chain allows.
    """

    message_bytes: int = 65_535
    payloads: int = 64
    crypto_sessions: int = 64
    certificates: int = 8
    policy_parameters: int = 64
    nesting: int = 4


DEFAULT_LIMITS = Limits()
