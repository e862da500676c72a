"""How the user agent that misbehaves asks the KMS, and in which modes it does not do what is required."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipmikey.conformance.forge import Edit, Forger, flipped, replacing, shifted_time, with_header, without
from sipmikey.conformance.kms_subject import Party
from sipmikey.keys.signature import SIGNATURE_HASH, sign
from sipmikey.mikey.certificate import PKE, SIGN
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, IdRole, RandRole
from sipmikey.mikey.ticket import TICKET
from sipmikey.ticket.credentials import CertificateCredential
from sipmikey.ticket.mode import Mode, mode_of
from sipmikey.ticket.policy import TicketPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A RESOLVE_INIT about to be sent; ``credential`` is given where it is signed."""

    message: Message
    party: Party
    kms: str
    credential: CertificateCredential | None = None

    def edited(self, edit: Edit) -> bytes:
        """Return it with other payloads."""
        if self.credential is not None:
            return self.signed(edit)
        return self._forger().variant(edit)

    def headed(self, **changes: object) -> bytes:
        """Return it with another header, where a MAC protects it."""
        return self._forger().variant(header=with_header(self.message, **changes))

    def signed(self, edit: Edit, following: bytes | None = None) -> bytes:
        """Return it with other payloads and a signature that covers *following* after them."""
        assert self.credential is not None
        length = len(self.message.one(SIGN).signature)
        draft = Message.build(self.message.header, edit(list(self.message.payloads))).raw[:-length]
        covered = draft + (self._identities() if following is None else following)
        hash_func = SIGNATURE_HASH[self.message.header.prf]
        return draft + sign(self.credential.private_key, covered, hash_func=hash_func)

    def _forger(self) -> Forger:
        return Forger(message=self.message, inkey=self.party.key, following=self._identities())

    def _identities(self) -> bytes:
        return (self.party.uri + self.kms).encode()


_SAME = RANDR(role=RandRole.RESPONDER, rand=b"r" * 32)
_FLIP_TICKET = replacing(TICKET, lambda t: t.with_data(ticket_data=flipped(t.ticket_data)))
_NO_INITIATOR_DATA = replacing(TICKET, lambda t: t.with_data(initiator_data=b""))

QUESTIONS: dict[str, tuple[str, Callable[[Question], bytes]]] = {
    "resolve-init-map": ("the map is GENERIC-ID", lambda q: q.headed(map_type=CsIdMapType.GENERIC_ID)),
    "resolve-init-v-flag": ("the V flag is 0", lambda q: q.headed(v=False)),
    "resolve-init-stale": ("T is of a day ago", lambda q: q.edited(shifted_time(-86_400))),
    "resolve-init-no-randrr": ("RANDRr is left out", lambda q: q.edited(without(RANDR))),
    "resolve-init-same-randrr": ("RANDRr is always the same",
        lambda q: q.edited(replacing(RANDR, lambda _: _SAME))),
    "resolve-init-no-idrkms": ("IDRkms is left out", lambda q: q.edited(without(IDR, IdRole.KMS))),
    "resolve-init-no-idrr": ("IDRr is left out", lambda q: q.edited(without(IDR, IdRole.RESPONDER))),
    "resolve-init-altered-ticket": ("Ticket Data is changed", lambda q: q.edited(_FLIP_TICKET)),
    "resolve-init-no-initiator-data": ("Initiator Data is left out", lambda q: q.edited(_NO_INITIATOR_DATA)),
    "resolve-init-bad-mac": ("the MAC does not verify", lambda q: flipped(q.message.raw)),
}  # fmt: skip
"""Break -> what it is, and the change to RESOLVE_INIT that makes it."""

SIGNED_QUESTIONS: dict[str, tuple[str, Callable[[Question], bytes]]] = {
    "resolve-init-pk-signature-alone": ("the signature does not cover the identities",
        lambda q: q.signed(list, b"")),
    "resolve-init-pk-other-envelope": ("the envelope is not for the KMS",
        lambda q: q.signed(replacing(PKE, lambda p: type(p)(data=flipped(p.data))))),
}  # fmt: skip
"""The same for a user agent with a certificate."""

REFUSED_TICKETS: dict[str, tuple[str, Callable[[TicketPolicy], bool]]] = {
    "refuses-tickets-without-forking": ("tickets with I = 0 are refused",
        lambda p: mode_of(p.flags) is Mode.FULL and not p.flags.key_forking),
    "refuses-tickets-without-randrr": ("tickets with G = 0 are refused", lambda p: not p.flags.randr_r),
    "refuses-reuse": ("tickets with J = 1 are refused", lambda p: p.flags.reusable),
    "refuses-wildcards": ("tickets for a wildcard are refused", lambda p: "*" in p.responders[0]),
    "refuses-several-responders": ("tickets for several are refused", lambda p: len(p.responders) > 1),
    "refuses-keys-of-initiators": ("tickets with L = 1 are refused", lambda p: p.flags.initiator_keys),
    "refuses-otway-rees": ("tickets that the Initiator makes for the KMS to resolve are refused",
        lambda p: mode_of(p.flags) is Mode.OTWAY_REES),
    "refuses-kerberos": ("tickets of the KMS with E = 0 are refused",
        lambda p: mode_of(p.flags) is Mode.KERBEROS),
    "refuses-preshared": ("tickets that the Initiator makes with E = 0 are refused",
        lambda p: mode_of(p.flags) is Mode.PRESHARED),
}  # fmt: skip
"""Break -> what it is, and the tickets that are refused."""

TICKET_LENIENCES: dict[str, tuple[str, str, str]] = {
    "takes-altered-tickets": ("the MAC of a ticket is not verified", "auth-failure", "Ticket Data V"),
    "takes-ended-tickets": ("a ticket is taken after its end", "ticket-expired", ""),
    "takes-tickets-of-others": ("a ticket for somebody else is taken", "not-authorized", "IDRr"),
    "takes-tickets-in-any-name": ("a key shared with one caller opens tickets of all", "unknown-key", ""),
    "takes-others-tickets": ("a ticket of another Initiator is taken", "invalid-identity", "IDRi"),
    "takes-needless-initiator-data": ("Initiator Data is taken although keys are not forked",
        "malformed-message", "Initiator Data: is there"),
}  # fmt: skip
"""Break -> what it is, and the refusals that it lifts."""

OTHER_MODES = {
    "asks-always": "the KMS is asked about tickets that the user agent can open",
    "asks-too-early": "the KMS is asked about offers that are refused",
    "answer-randrkms-always": "TRANSFER_RESP has RANDRkms without key forking",
    "answer-randrr-always": "TRANSFER_RESP has RANDRr although G is 0",
    "ignores-keys-of-initiators": "keys of the Initiator are not used",
}
