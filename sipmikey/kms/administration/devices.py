"""What is told of a device: its state, and when it was used last."""

from __future__ import annotations

from collections.abc import Sequence

from sipmikey.kms.audit import key_name
from sipmikey.kms.enrolment.records import DeviceRecord
from sipmikey.kms.stores.store import Store


def state(device: DeviceRecord, now_s: int) -> str:
    """Return the state of a device in a word: active, disabled, expired or revoked."""
    if device.revoked_s is not None:
        return "revoked"
    if not device.enabled:
        return "disabled"
    return "expired" if now_s >= device.valid_until_s else "active"


async def last_uses_of(store: Store, devices: Sequence[DeviceRecord]) -> dict[str, int]:
    """Return the like of `last_uses` for some devices, without looking at all others."""
    certificates = await store.devices.certificates([device.device for device in devices])
    uses = await store.audit.uses_of(list(certificates))
    found: dict[str, int] = {}
    for device in devices:
        times = [used_s for credential, used_s in uses.items() if certificates[credential] == device.device]
        named_s = await store.audit.last_use_of_names(f"{device.device}.".encode())
        times += [] if named_s is None else [named_s]
        if times:
            found[device.device] = max(times)
    return found


async def last_uses(store: Store) -> dict[str, int]:
    """Return when each device last used any of its keys and certificates, in Unix seconds.

    A key that was destroyed still tells its device by its name.
    """
    owners = await store.devices.credentials()
    found: dict[str, int] = {}
    for credential, used_s in (await store.audit.uses()).items():
        device = owners.get(credential) or key_name(credential).rpartition(".")[0]
        if device:
            found[device] = max(used_s, found.get(device, 0))
    return found
