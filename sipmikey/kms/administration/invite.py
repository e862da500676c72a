"""Invitations: codes that make a phone of a device, once."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sipmikey.kms.enrolment.codes import NUMBERS, Code, new_code, uri_of
from sipmikey.kms.enrolment.records import InvitationRecord
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

DRAWS = 8
"""How often new codes are drawn when another command took a number of theirs meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvitation:
    """One invitation that was made. ``uri``: None where nothing tells the KMS's own URL."""

    record: InvitationRecord
    code: Code
    uri: str | None

    def document(self) -> dict[str, object]:
        """Return what a program needs of it. It holds the code."""
        return {
            "subscriber": self.record.subscriber,
            "identity": self.record.identity,
            "number": self.record.number,
            "code": self.code.written(),
            "uri": self.uri,
            "expires_s": self.record.expires_s,
        }


async def invite(
    store: Store,
    wanted: Sequence[tuple[str, str]],
    *,
    minutes: float,
    url: str | None,
    secrets: Mapping[str, Mapping[str, Secret]],
) -> list[NewInvitation]:
    """Make one invitation for each (subscriber, identity) of *wanted*, all or none.

    *secrets*: by identity, what else its device gets. Raises `LocalError` if numbers have run out.
    """
    now_s = int(time.time())
    for _ in range(DRAWS):
        codes = _codes(len(wanted), await store.devices.numbers())
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            keys = list(pool.map(Code.key, codes))
        records = [
            InvitationRecord(
                number=code.number,
                subscriber=subscriber,
                identity=identity,
                key=key,
                created_s=now_s,
                expires_s=now_s + round(minutes * 60),
                secrets=secrets.get(identity, {}),
            )
            for code, key, (subscriber, identity) in zip(codes, keys, wanted, strict=True)
        ]
        if await store.devices.invite(records):
            return [
                NewInvitation(record=record, code=code, uri=None if url is None else uri_of(url, code))
                for record, code in zip(records, codes, strict=True)
            ]
    raise LocalError("other commands took the numbers that were drawn: try again")


def _codes(count: int, taken: Set[str]) -> list[Code]:
    """Draw *count* codes with numbers of their own, none of them *taken*.

    Raises `LocalError` where more than half of all numbers would be in use: draws would become long.
    """
    if len(taken) + count > NUMBERS // 2:
        raise LocalError(
            f"{len(taken)} invitations have numbers, and {count} more are too many: they are free again"
            " 30 days after an invitation is over"
        )
    found: dict[str, Code] = {}
    while len(found) < count:
        code = new_code(os.urandom)
        if code.number not in taken:
            found.setdefault(code.number, code)
    return list(found.values())
