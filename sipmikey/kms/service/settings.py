"""The identity of a KMS, and the parties it trusts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography import x509

from sipmikey.keys.revocation import Revocation
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.ticket.credentials import KmsKeyPair, PreSharedKey
from sipmikey.ticket.identity import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerKms:
    """Another KMS this one passes resolves to. ``url`` is for the HTTP client.

    ``key`` and ``key_id`` protect the RESOLVE_INIT sent to it (pre-shared key variant).
    """

    identity: str
    url: str
    key: Secret
    key_id: bytes

    @property
    def credential(self) -> PreSharedKey:
        """The key as the ticket layer takes it."""
        return PreSharedKey(key=self.key, key_id=self.key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSettings:
    """The names of this KMS.

    ``identity``: its canonical URI, put into IDRkms; ``aliases``: others it answers to. ``peers``: the KMSs
    it trusts, by canonical identity; a resolve for a ticket of any other is refused. ``key_pairs`` and
    ``trust_anchors`` serve the public-key variants, which are refused without them. ``revocation``: returns
    the revocation lists in force; None: certificates are not checked against any. ``registered_issuers``: CAs
    of whose certificates only those bound to a subscriber count, so that one that was revoked counts no more.
    ``accept_counter``: accept COUNTER timestamps, each remembered for ever by the replay cache.
    """

    identity: str
    aliases: frozenset[str] = frozenset()
    peers: Mapping[str, PeerKms] = field(default_factory=lambda: MappingProxyType({}))
    key_pairs: tuple[KmsKeyPair, ...] = ()
    trust_anchors: tuple[x509.Certificate, ...] = ()
    revocation: Callable[[], Revocation] | None = None
    registered_issuers: tuple[x509.Name, ...] = ()
    accept_counter: bool = False

    def __post_init__(self) -> None:
        for uri in (self.identity, *self.aliases, *self.peers):
            if canonical(uri) != uri:
                raise LocalError(f"{uri!r} is not in canonical form: write {canonical(uri)}")

    def is_ours(self, identity: str) -> bool:
        """Return whether a canonical *identity* names this KMS."""
        return identity == self.identity or identity in self.aliases
