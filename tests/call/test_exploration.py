"""Every interleaving of a call, on the real machine: what must hold does, in every state."""

from __future__ import annotations

import time

import pytest

from sipmikey.call.within import renegotiation
from tests.call.scenarios import SCENARIOS, TRIES, run

_LEAST = {
    "caller, three branches": 1000,
    "within a call, the caller": 3000,
    "within a call, the callee": 3000,
    "within a call, both sides": 300,
    "within a call, a change that waits": 1000,
}
"""States below which a scenario has lost what it explores."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_interleaving(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renegotiation, "MOST_TRIES", TRIES)
    began = time.process_time()
    report = run(name)
    took_s = time.process_time() - began
    print(f"{name}: {report.states} states, {report.transitions} transitions, {took_s:.1f} s")
    assert report.over
    assert report.states >= _LEAST.get(name, 0)
