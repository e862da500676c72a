"""A KMS for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kms.domain import Domain
from tests.kms.organisation import provider as openid
from tests.kms.servers import Missing, PostgresCluster, RedisServer


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Domain]:
    domain = Domain.make(tmp_path)
    yield domain
    domain.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    try:
        cluster = PostgresCluster()
    except Missing as missing:
        pytest.skip(str(missing))
    yield cluster
    cluster.remove()


@pytest.fixture
def own_postgres() -> Iterator[PostgresCluster]:
    """A cluster that the test may stop."""
    try:
        cluster = PostgresCluster()
    except Missing as missing:
        pytest.skip(str(missing))
    yield cluster
    cluster.remove()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """An empty server: what one test's clock left in it would make another's messages too old."""
    try:
        server = RedisServer()
    except Missing as missing:
        pytest.skip(str(missing))
    yield server
    server.remove()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.interop)],
)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that does not exist yet, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/kms.sqlite"
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    return cluster.database()


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openid.Provider]:
    """A real OpenID provider."""
    try:
        running = openid.Provider(tmp_path_factory.mktemp("provider"))
    except openid.Missing as missing:
        pytest.skip(str(missing))
    yield running
    running.close()
