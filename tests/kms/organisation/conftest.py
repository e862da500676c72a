"""The servers of an organisation, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kms.organisation.provider import Missing, Provider


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    try:
        running = Provider(tmp_path_factory.mktemp("provider"))
    except Missing as missing:
        pytest.skip(str(missing))
    yield running
    running.close()
