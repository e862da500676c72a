"""Plugging another source of credentials into the KMS: 3GPP GBA (TS 33.220), in outline.

Run: python examples/gba_credentials.py

In GBA a phone authenticates with its SIM to a bootstrapping server (BSF) and gets a temporary name, the
B-TID. A service such as a KMS (a NAF in GBA's words) is sent the B-TID and asks the BSF for the key that goes
with it, Ks_NAF of 32 bytes, how long it lasts, and which public identities the user has. Here the B-TID is
IDRpsk and Ks_NAF the pre-shared key. The BSF is a dictionary; a real one is asked over the Zn interface
(Diameter or HTTP). No conformance to TS 33.328 is claimed.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sipmikey.keys.suite import SUITE_256
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.service import CredentialSource, KeyManagementService, KmsSettings, StoreUnavailable
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.subscribers import Principal, PskCredential, normal_identity
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.system import environment
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketRequest

KMS = "sip:kms@home1.example"
POLICY = '[[rule]]\nname = "home"\nfrom = ["sip:*@home1.example"]\nto = ["*"]\ndecision = "allow"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapping:
    """What a BSF tells about a B-TID. ``ks_naf``: 32 bytes; ``expires_s``: Unix seconds."""

    subscriber: str
    ks_naf: Secret
    expires_s: int
    public_identities: tuple[str, ...]


class Bsf(Protocol):
    """The Zn interface to the bootstrapping server."""

    async def bootstrapping(self, b_tid: str, naf: str) -> Bootstrapping | None:
        """Return what the BSF knows of *b_tid* for the service *naf*, or None; `OSError` if it is down."""
        ...


class GbaCredentials:
    """A `CredentialSource`: keys come from the BSF, groups and all else from the KMS's own store."""

    def __init__(self, bsf: Bsf, naf: str, directory: CredentialSource) -> None:
        self._bsf = bsf
        self._naf = naf
        self._directory = directory

    async def psk_by_key_id(self, key_id: bytes) -> PskCredential | None:
        """Ask the BSF for the key of a B-TID; any other name is a key of our own store."""
        b_tid = _b_tid(key_id)
        if b_tid is None:
            return await self._directory.psk_by_key_id(key_id)
        try:
            found = await self._bsf.bootstrapping(b_tid, self._naf)
        except OSError as error:
            raise StoreUnavailable(f"the BSF does not answer: {error}") from error
        if found is None:
            return None
        identities = tuple(normal_identity(uri) for uri in found.public_identities)
        groups = {group for uri in identities for group in await self._directory.groups_of(uri)}
        return PskCredential(
            principal=Principal(name=found.subscriber, identities=identities, groups=tuple(sorted(groups))),
            key=found.ks_naf,
            key_id=key_id,
            valid_until_s=found.expires_s,
        )

    async def psks_of(self, identity: str) -> Sequence[PskCredential]:
        """A bootstrapped key is found by its B-TID only."""
        return await self._directory.psks_of(identity)

    async def principal_by_certificate(self, fingerprint: bytes) -> Principal | None:
        return await self._directory.principal_by_certificate(fingerprint)

    async def principal_of(self, identity: str) -> Principal | None:
        return await self._directory.principal_of(identity)

    async def groups_of(self, identity: str) -> Sequence[str]:
        return await self._directory.groups_of(identity)


def _b_tid(key_id: bytes) -> str | None:
    """A B-TID is base64(RAND)@BSF-name."""
    try:
        text = key_id.decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if "@" in text else None


class DictionaryBsf:
    """A BSF for this example."""

    def __init__(self, known: dict[str, Bootstrapping]) -> None:
        self._known = known

    async def bootstrapping(self, b_tid: str, naf: str) -> Bootstrapping | None:
        return self._known.get(b_tid)


async def main() -> None:
    b_tid = "bm90IHNlY3JldCByYW5kIQ==@bsf.home1.example"
    alice = Bootstrapping(
        subscriber="240011234567890",
        ks_naf=Secret(os.urandom(32)),
        expires_s=int(time.time()) + 3600,
        public_identities=("sip:alice@home1.example", "tel:+46701234567"),
    )
    bsf = DictionaryBsf({b_tid: alice})
    env = environment()
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(f"sqlite:{directory}/kms.sqlite", Secret(os.urandom(32)), create=True)
        lookups = replace(
            store.lookups(),
            credentials=GbaCredentials(bsf, "kms.home1.example", store.subscribers),  # type: ignore[arg-type]
        )
        service = KeyManagementService(env, KmsSettings(identity=KMS), parse_policy(POLICY), lookups)

        async def ask(identity: str, name: str) -> None:
            request = TicketRequest.start(
                env,
                policy=TicketPolicy(
                    suite=SUITE_256, flags=TicketFlags.of("DEFGHINO"), responders=("sip:bob@home1.example",)
                ),
                credential=PreSharedKey(key=alice.ks_naf, key_id=name.encode()),
                identity=identity,
                kms=KMS,
            )
            outcome = await service.handle(request.message)
            told = f"{outcome.status} {outcome.reason} {outcome.event.ticket}"
            print(f"{identity} with B-TID {name[:8]}...: {told}")

        await ask("sip:alice@home1.example", b_tid)
        await ask("sip:carol@home1.example", b_tid)
        await ask("sip:alice@home1.example", "dW5rbm93bg==@bsf.home1.example")
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
