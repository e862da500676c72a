"""The servers of an organisation, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kms.organisation.provider import Missing
from tests.kms.organisation.slapd import Slapd


@pytest.fixture(scope="session")
def slapd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    try:
        running = Slapd(tmp_path_factory.mktemp("slapd"))
    except Missing as missing:
        pytest.skip(str(missing))
    yield running
    running.close()


@pytest.fixture
def slapd(slapd_server: Slapd) -> Slapd:
    """A server without people."""
    slapd_server.empty()
    return slapd_server
