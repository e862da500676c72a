"""The key of an enrolled device while a program runs: renewed in time, and taken when another program did."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sipmikey.cli.calls.credentials import pre_shared_key
from sipmikey.cli.config.load import LoadedConfiguration, load
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.ticket.credentials import PreSharedKey

LOOK_S: Final = 900.0
"""How often a program that runs looks whether it is time to ask the KMS."""


class PresentKey:
    """The pre-shared key in the configuration at *path*, read again when the file has changed."""

    def __init__(self, path: Path, key: PreSharedKey) -> None:
        self.path = path
        self._key = key
        self._changed = _changed_at(path)

    def __call__(self) -> PreSharedKey:
        """Return the key as it is now. A file that cannot be read leaves the one that is known."""
        changed = _changed_at(self.path)
        if changed != self._changed:
            with suppress(SipmikeyError, OSError):
                kms = load(path=self.path).configuration.kms
                key_id = kms.psk_id.encode() if kms.psk_id else None
                self._key = PreSharedKey(key=pre_shared_key(kms), key_id=key_id)
                self._changed = changed
        return self._key


def present_key(loaded: LoadedConfiguration) -> PresentKey | None:
    """Return the key of an enrolled device; None for another key, or one from an option or variable."""
    kms = loaded.configuration.kms
    origins = {loaded.merged.origins["kms", name] for name in ("psk", "psk_id")}
    if loaded.path is None or not loaded.configuration.enrolment.device or origins != {"file"}:
        return None
    return PresentKey(loaded.path, PreSharedKey(key=pre_shared_key(kms), key_id=kms.psk_id.encode()))


@contextmanager
def renewed_in_time(present: PresentKey) -> Iterator[None]:
    """Ask the KMS for a changed profile and a new key when it is time, while the block runs."""
    task = asyncio.get_running_loop().create_task(_renewing(present))
    try:
        yield
    finally:
        task.cancel()


async def _renewing(present: PresentKey) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        for line in await asyncio.to_thread(_refreshed, present.path):
            print(f"sipmikey: {line}", file=sys.stderr, flush=True)


def _refreshed(path: Path) -> list[str]:
    from sipmikey.cli.enrol.refresh import refresh_at_start

    try:
        return list(refresh_at_start(load(path=path)))
    except (SipmikeyError, OSError) as error:
        return [str(error)]


def _changed_at(path: Path) -> tuple[int, int]:
    """Return what changes when the file does: it is replaced as a whole."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
