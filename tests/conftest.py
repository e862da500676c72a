"""What every test shares: real peers are looked for, and nothing of them is skipped in CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

# The rooms of the tests import one another's parties and peers as `tests.<room>`.
sys.path.insert(0, str(Path(__file__).parent.parent))
from hypothesis import HealthCheck, settings

from sipmikey.testing.stacks import chosen_stacks

# Several test runs share a machine's cores: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ladders", type=Path, metavar="DIR", help="draw each capture as a ladder, into DIR")


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker(PJSUA2_ONLY)
    if marker is not None and "python" in chosen_stacks().values():
        pytest.skip(f"pjsua2 only: {marker.args[0]}")


PJSUA2_ONLY = "pjsua2_only"
IN_CI = os.environ.get("CI", "").lower() == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped interop test into a failed one where CI=true."""
    report = yield
    exempt = hasattr(report, "wasxfail") or (item.get_closest_marker(PJSUA2_ONLY) and chosen_stacks())
    if IN_CI and report.skipped and item.get_closest_marker("interop") and not exempt:
        report.outcome = "failed"
        report.longrepr = f"an interop test may not be skipped in CI: {call.excinfo and call.excinfo.value}"
    return report
