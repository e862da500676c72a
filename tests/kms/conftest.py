"""A KMS for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kms.domain import Domain


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Domain]:
    domain = Domain.make(tmp_path)
    yield domain
    domain.close()
