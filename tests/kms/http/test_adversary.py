"""Thousands of hostile messages: none granted, none answered as if it were our fault."""

from __future__ import annotations

import collections
import contextlib
import ssl
from pathlib import Path

import pytest

from tests.kms.http.adversary import Adversary
from tests.kms.http.serving import (
    ALICE,
    BOB,
    CAROL,
    MIKEY,
    TICKET_REQUEST,
    TICKET_RESOLVE,
    Authority,
    Site,
    serving,
)
from tests.kms.servers import PostgresCluster, RedisServer

ATTACKS = 3000
ATTACKS_FROM_AFAR = 400


def test_nothing_hostile_is_granted(tmp_path: Path) -> None:
    nothing_is_granted(tmp_path, Site(tmp_path / "site"), ATTACKS)


@pytest.mark.interop
def test_nothing_hostile_is_granted_over_tls_with_postgresql_and_redis(
    postgres: PostgresCluster, redis_server: RedisServer, tmp_path: Path
) -> None:
    authority = Authority()
    files = tmp_path / "kms.pem", tmp_path / "kms.key"
    authority.issue(*files, "127.0.0.1")
    site = Site(
        tmp_path / "site", "--store", postgres.database(), "--replay", redis_server.url, "--workers", 2,
        "--tls-cert", files[0], "--tls-key", files[1],
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(authority.write(tmp_path / "ca.pem")))
    nothing_is_granted(tmp_path, site, ATTACKS_FROM_AFAR, context)


def nothing_is_granted(
    tmp_path: Path, site: Site, attacks: int, context: ssl.SSLContext | None = None
) -> None:
    foreign = Site(tmp_path / "foreign")
    for each in (site, foreign):
        each.configure("limits", address_per_second=0, subscriber_per_second=0)
    alice, bob, carol = site.add(ALICE), site.add(BOB), site.add(CAROL)
    with serving(foreign) as service:
        request = foreign.add(ALICE).request(BOB)
        foreign_grant = request.receive(service.post(request.message)[2])
    with serving(site) as service:
        requests = [alice.request(BOB) for _ in range(10)]
        grants = [request.receive(service.post(request.message, context=context)[2]) for request in requests]
        resolves = [bob.resolve(grants[0], alice) for _ in range(10)]
        for resolve in resolves:
            resolve.receive(service.post(resolve.message, path=TICKET_RESOLVE, context=context)[2])
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
        with contextlib.closing(service.connection(context)) as connection:
            for attack in adversary.attacks(attacks):
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
