"""Commands as processes and a real KMS, for all regression tests."""

import pytest

from tests.cli.commands import command as command
from tests.cli.commands import kms as kms
from tests.cli.commands import kms_server as kms_server
from tests.cli.commands import options as options


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and {"command", "kms"} & set(item.fixturenames):
            item.add_marker(pytest.mark.processes)
