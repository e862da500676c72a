"""A real KMS, and agents as processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipmikey.testing import TestKms
from tests.phone.agents import JsonAgent, settings


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKms]:
    server = TestKms(tmp_path_factory.mktemp("kms"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def agent(kms: TestKms, tmp_path: Path) -> Iterator[Callable[..., JsonAgent]]:
    """Start `sipmikey agent --json` as somebody, and wait until it is ready."""
    running: list[JsonAgent] = []

    def start(identity: str, *more: str, **environment: str) -> JsonAgent:
        one = JsonAgent([*settings(kms, tmp_path, identity), *more], environment)
        running.append(one)
        one.contact = one.until("agent.ready")["contact"]
        return one

    yield start
    for one in running:
        one.kill()
