"""What docs/kms/http.md says about statuses and reasons is what the service does."""

from __future__ import annotations

import re
from pathlib import Path

from tests.kms.http.serving import (
    ALICE,
    BOB,
    MIKEY,
    TICKET_REQUEST,
    TICKET_RESOLVE,
    Site,
    Subscriber,
    command,
    serving,
)

GUIDE = Path(__file__).parents[3] / "docs" / "kms" / "http.md"


def documented() -> dict[str, set[str]]:
    """Return the reasons of each status in the guide's table."""
    found: dict[str, set[str]] = {}
    for statuses, _, reasons in re.findall(
        r"^\| ([\d, ]+) \| (.*?) \| (.*?) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    ):
        for status in statuses.split(", "):
            found.setdefault(status, set()).update(re.findall(r"`([a-z-]+)`", reasons))
    return found


def test_statuses_and_reasons_are_as_documented(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.edit("workers = 1", "workers = 1\nbody_bytes = 2000")
    alice, bob = site.add(ALICE), site.add(BOB)
    disabled = site.add("sip:dora@example.com")
    command("user", "disable", "--dir", site.directory, disabled.identity)
    with serving(site) as service:
        seen = alice.request(BOB).message
        forged = bytearray(alice.request(BOB).message)
        forged[-1] ^= 1
        liar = Subscriber(identity=ALICE, psk=bob.psk)
        grant_request = alice.request("sip:carol@example.com")
        grant = grant_request.receive(service.post(grant_request.message)[2])
        assert service.post(seen)[0] == 200
        cases = [
            (b"\x01", {}),
            (seen, {}),
            (alice.request(BOB).message, {"path": TICKET_RESOLVE}),
            (b"", {"path": "/keymanagement"}),
            (disabled.request(BOB).message, {}),
            (bytes(forged), {}),
            (liar.request(BOB).message, {}),
            (bob.resolve(grant, alice).message, {"path": TICKET_RESOLVE}),
            (alice.request(BOB, kms="sip:kms@example.net").message, {}),
            (b"\x01" * 2001, {}),
            (b"\x01", {"headers": {"Content-Type": "text/plain"}}),
            (b"\x01", {"headers": {**MIKEY, "Content-Encoding": "gzip"}}),
        ]
        told = documented()
        statuses = set()
        for body, options in cases:
            status, headers, _ = service.post(body, **{"path": TICKET_REQUEST, **options})  # type: ignore[arg-type, dict-item]
            assert headers["kms-reason"] in told[str(status)], (status, headers["kms-reason"])
            statuses.add(status)
        assert statuses == {400, 401, 403, 404, 413, 415}
