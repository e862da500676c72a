"""The Wireshark dissector: every test needs tshark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.lab import programs

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(autouse=True)
def _tshark() -> None:
    programs.need("tshark")
