"""Invitations and devices as the KMS keeps them, and what keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from sipmikey.kms.subscribers import PskRecord
from sipmikey.mikey.secret import Secret

MAX_TRIES: Final = 5
"""How many messages are tried for one invitation; after that it is void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationRecord:
    """An invitation. ``key``: derived from the code (32 bytes), None once it was used. Times: Unix seconds.

    ``identity``: what the device will be; the ``subscriber`` owns it. ``secrets``: what else the device gets,
    by setting. ``request`` (SHA-256) and ``answer``: of the message that used it, so that the same message
    gets the same answer again. ``revoked``: taken back.
    """

    number: str
    subscriber: str
    identity: str
    key: Secret | None
    created_s: int
    expires_s: int
    enabled: bool = True
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    tries: int = 0
    used_s: int | None = None
    request: bytes = b""
    answer: bytes = b""
    revoked: bool = False

    def open_at(self, now_s: int) -> bool:
        """Return whether the code may be used at *now_s*."""
        return self.used_s is None and not self.revoked and now_s < self.expires_s and self.tries <= MAX_TRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord:
    """An enrolled device. ``key`` (32 bytes) proves it here; its keys for tickets are beside it in the store.

    ``generation`` counts its keys. ``seen_s``: when it last asked for something here.
    """

    device: str
    subscriber: str
    identity: str
    name: str
    key: Secret
    generation: int
    enrolled_s: int
    seen_s: int
    valid_until_s: int
    enabled: bool = True
    revoked_s: int | None = None

    def open_at(self, now_s: int) -> bool:
        """Return whether the device may ask for anything at *now_s*."""
        return self.revoked_s is None and self.enabled and now_s < self.valid_until_s


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCredential:
    """A new key or a certificate (DER) of a device, one of them."""

    psk: PskRecord | None = None
    certificate: bytes | None = None


class EnrolmentStore(Protocol):
    """Keeps invitations and devices. Any method may raise `StoreUnavailable`."""

    async def try_invitation(self, number: str, *, now_s: int) -> InvitationRecord | None:
        """Count one try of an invitation that is open, then return it; None if there is none of that number.

        The count includes this try, and is kept before the code is looked at: tries at the same time count.
        """
        ...

    async def redeem(
        self,
        number: str,
        device: DeviceRecord,
        issued: IssuedCredential,
        *,
        request: bytes,
        answer: bytes,
        now_s: int,
    ) -> bool:
        """Use up an invitation and keep the device it made, both or neither; return False if it was used."""
        ...

    async def device(self, device: str) -> DeviceRecord | None:
        """Return the device of that identifier, also if it was revoked, or None."""
        ...

    async def renew(self, device: DeviceRecord, issued: IssuedCredential, *, overlap_until_s: int) -> bool:
        """Keep *device* as it is now, with a new key; its older keys end at *overlap_until_s* or before.

        Return False, and keep nothing, if it was renewed or revoked meanwhile.
        """
        ...

    async def seen(self, device: str, *, now_s: int) -> None:
        """Remember that the device asked for something."""
        ...

    async def revoke_device(self, device: str, *, now_s: int) -> bool:
        """Destroy the keys of a device and refuse it from now on; return False if that is done already."""
        ...
