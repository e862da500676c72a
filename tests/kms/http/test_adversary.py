"""Thousands of hostile messages: none granted, none answered as if it were our fault."""

from __future__ import annotations

import collections
import contextlib
from pathlib import Path

from tests.kms.http.adversary import Adversary
from tests.kms.http.serving import (
    ALICE,
    BOB,
    CAROL,
    MIKEY,
    TICKET_REQUEST,
    TICKET_RESOLVE,
    Site,
    serving,
)

ATTACKS = 3000


def test_nothing_hostile_is_granted(tmp_path: Path) -> None:
    site, foreign = Site(tmp_path / "site"), Site(tmp_path / "foreign")
    for each in (site, foreign):
        each.configure("limits", address_per_second=0, subscriber_per_second=0)
    alice, bob, carol = site.add(ALICE), site.add(BOB), site.add(CAROL)
    with serving(foreign) as service:
        request = foreign.add(ALICE).request(BOB)
        foreign_grant = request.receive(service.post(request.message)[2])
    with serving(site) as service:
        requests = [alice.request(BOB) for _ in range(10)]
        grants = [request.receive(service.post(request.message)[2]) for request in requests]
        resolves = [bob.resolve(grants[0], alice) for _ in range(10)]
        for resolve in resolves:
            resolve.receive(service.post(resolve.message, path=TICKET_RESOLVE)[2])
        adversary = Adversary(
            2026,
            alice=alice,
            bob=bob,
            mallory=carol,
            grant=grants[0],
            foreign=foreign_grant,
            seen=[(TICKET_REQUEST, each.message) for each in requests]
            + [(TICKET_RESOLVE, each.message) for each in resolves],
        )
        answers: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
        with contextlib.closing(service.connection()) as connection:
            for attack in adversary.attacks(ATTACKS):
                connection.request("POST", attack.path, attack.message, MIKEY)
                response = connection.getresponse()
                response.read()
                answers[attack.family][response.status] += 1
                assert 400 <= response.status < 500, (attack, response.status)
            # Their models are granted: it was the attacks that were refused, and nothing was used up.
            for path, message in adversary.bases:
                connection.request("POST", path, message, MIKEY)
                response = connection.getresponse()
                response.read()
                assert response.status == 200, response.getheader("KMS-Reason")
    assert len(answers) == 18
