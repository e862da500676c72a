"""How the user agent that misbehaves breaks what is required of CSB updates (RFC 6043 section 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sipmikey.conformance.forge import Edit, Forger, before_last, replacing, shifted_time, with_header
from sipmikey.keys.derivation import ProtectionKeys
from sipmikey.mikey.header import GenericIdEntry
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import RandRole
from sipmikey.mikey.timestamp import T


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAnswer:
    """A TRANSFER_RESP to an update about to be sent. ``first`` is the TRANSFER_RESP of the call."""

    forger: Forger
    protection: ProtectionKeys
    first: Message

    def edited(self, edit: Edit) -> bytes:
        """Return it with other payloads."""
        return self.forger.variant(edit, protection=self.protection)

    def headed(self, **changes: object) -> bytes:
        """Return it with another header."""
        header = with_header(self.forger.message, **changes)
        return self.forger.variant(header=header, protection=self.protection)

    def with_entries(self, change: Callable[[GenericIdEntry], GenericIdEntry]) -> bytes:
        """Return it with other crypto sessions."""
        return self.headed(
            crypto_sessions=tuple(change(entry) for entry in self.forger.message.header.generic_ids())
        )


def _other_keys(answer: UpdateAnswer) -> bytes:
    return answer.forger.variant(protection=answer.forger.protection(answer.forger.message))


def _old_spi(answer: UpdateAnswer) -> bytes:
    spi = answer.first.header.generic_ids()[0].spi
    return answer.with_entries(lambda entry: replace(entry, spi=spi))


_NEW = RANDR(role=RandRole.RESPONDER, rand=b"n" * 32)

UPDATES: dict[str, tuple[str, Callable[[UpdateAnswer], bytes]]] = {
    "update-csb-id": ("CSB ID is another", lambda a: a.headed(csb_id=a.first.header.csb_id ^ 1)),
    "update-stale": ("T is of a day ago", lambda a: a.edited(shifted_time(-86_400))),
    "update-same-time": ("T is that of the answer before",
        lambda a: a.edited(replacing(T, lambda _: a.first.one(T)))),
    "update-mac-alone": ("the MAC does not cover the update",
        lambda a: a.forger.variant(following=b"", protection=a.protection)),
    "update-other-keys": ("it is protected with other keys than the first exchange", _other_keys),
    "update-v-first": ("V is not the last payload", lambda a: a.edited(lambda p: [p[-1], *p[:-1]])),
    "update-new-randrr": ("it has a new RANDRr", lambda a: a.edited(before_last(_NEW))),
    "update-one-session": ("a crypto session is left out",
        lambda a: a.headed(crypto_sessions=a.forger.message.header.generic_ids()[:1])),
    "update-unknown-spi": ("an SPI names no key",
        lambda a: a.with_entries(lambda e: replace(e, spi=b"none"))),
    "update-old-key": ("the key of before is kept", _old_spi),
    "update-other-ssrc": ("an SSRC is changed",
        lambda a: a.with_entries(lambda e: replace(e, session_data=bytes(4)))),
}  # fmt: skip
"""Break -> what it is, and the change to the answer to an update that makes it."""

UPDATE_LENIENCES: dict[str, tuple[str, str, str]] = {
    "takes-updates-with-bad-macs": ("the MAC of an update is not verified", "auth-failure", "V:"),
    "takes-old-updates": ("T of an update may be that of the message before", "invalid-timestamp", "T: "),
    "takes-new-rands": ("an update may have new RANDs or tickets", "malformed-message", "RANDR or TICKET"),
    "takes-updates-of-others": ("an update may have another CSB ID", "unexpected-message", "CSB ID"),
    "takes-updates-without-t": ("T may be left out of an update", "malformed-message", "T: is missing"),
    "takes-updates-with-unknown-spis": ("SPIs of an update that name no key are taken",
        "malformed-message", "CS ID 1: "),
    "takes-clear-updates": ("keys of an update may be in the clear", "unsupported-encryption", ""),
    "takes-forbidden-updates": ("an update may have keys although L is 0", "invalid-ticket-policy", ""),
    "takes-responses-as-updates": ("any data type is taken as an update", "unsupported-data-type", ""),
    "takes-cut-updates": ("updates cut short are taken", "malformed-message", "Ver data"),
}  # fmt: skip
"""Break -> what it is, and the refusals of an update that it lifts: reason word and beginning of the text."""

OTHER_UPDATES = {
    "refuses-updates": "no update is taken",
    "refuses-second-updates": "one update is taken, and no other",
    "hangs-up-after-refusals": "no update is taken after one that was refused",
    "refuses-repeated-offers": "an offer with the same message again is refused",
    "changes-repeated-answers": "the answer to the same message again has another message",
    "plays-under-no-key": "a new m-line is taken without keys",
}
