"""A database and a replay cache die under a KMS on two machines: what is refused, lost, double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kms.cluster.machines import Post, Postgres, RedisPair, Tally, poster, until
from tests.kms.http.serving import ALICE, BOB, TICKET_REQUEST, TICKET_RESOLVE, Site, Subscriber, serving
from tests.kms.servers import Missing

BEFORE = AFTER = 10
pytestmark = [pytest.mark.long, pytest.mark.interop, pytest.mark.processes]


@pytest.fixture
def postgres_pair() -> Iterator[Postgres]:
    try:
        pair = Postgres()
    except Missing as missing:
        pytest.skip(str(missing))
    yield pair
    pair.remove()


@pytest.fixture
def redis_pair() -> Iterator[RedisPair]:
    pytest.importorskip("redis")
    try:
        pair = RedisPair()
    except Missing as missing:
        pytest.skip(str(missing))
    yield pair
    pair.remove()


def test_both_fail_over_and_nothing_is_lost_or_taken_twice(
    tmp_path: Path,
    postgres_pair: Postgres,
    redis_pair: RedisPair,
    record_property: Callable[[str, object], None],
) -> None:
    site = Site(tmp_path / "kms", "--store", postgres_pair.url, "--replay", redis_pair.url)
    alice, bob = site.add(ALICE), site.add(BOB)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("kms.toml", "policy.toml", "master.key"):
        (other / name).write_bytes((site.directory / name).read_bytes())
        (other / name).chmod(0o600)
    with serving(site) as one, serving(_at(other)) as two:
        asks = [poster(service, TICKET_REQUEST) for service in (one, two)]
        resolves = poster(two, TICKET_RESOLVE)
        tally = Tally()
        statuses = [tally.ask(asks[number % 2], alice) for number in range(BEFORE)]
        assert statuses == [200] * BEFORE

        def served() -> bool:
            return [tally.ask(ask, alice) for ask in asks] == [200, 200]

        postgres_pair.kill_primary()
        assert tally.ask(asks[0], alice) in (0, 503), "no ticket without a store that keeps it"
        postgres_pair.promote()
        database_s = until(served, "the database is back")
        _check(tally, asks, resolves, alice, bob)

        redis_pair.kill_master()
        assert tally.ask(asks[0], alice) in (0, 503), "no ticket without a memory of messages"
        cache_s = until(served, "the replay cache is back")
        for number in range(AFTER):
            assert tally.ask(asks[number % 2], alice) == 200
        _check(tally, asks, resolves, alice, bob)
    assert set(tally.by_status) <= {0, 200, 400, 503}, tally.told()
    told = f"{tally.told()}; database back after {database_s:.1f} s, replay cache after {cache_s:.1f} s"
    record_property("counts", told)
    print(told)


def _check(tally: Tally, asks: list[Post], resolves: Post, alice: Subscriber, bob: Subscriber) -> None:
    """Nothing is taken twice by either machine, and every ticket that was given out resolves."""
    for ask in asks:
        assert set(tally.again(ask)) == {400}, "a message was taken twice"
    assert tally.resolved(resolves, alice, bob) == len(tally.granted), "a ticket was lost"


def _at(directory: Path) -> Site:
    """Return the KMS that is in *directory* already."""
    site = object.__new__(Site)
    site.directory = directory
    site.identity = "sip:kms@example.com"
    return site
