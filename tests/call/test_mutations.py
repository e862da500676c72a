"""A machine that is wrong in one place does not pass the exploration: without this, it might see nothing."""

from __future__ import annotations

import pytest

from sipmikey.call.within import renegotiation
from tests.call.mutations import Mutation, mutations
from tests.call.scenarios import TRIES


@pytest.mark.parametrize("mutation", list(mutations()), ids=lambda mutation: mutation.name)
def test_a_wrong_machine_is_noticed(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renegotiation, "MOST_TRIES", TRIES)
    mutation.apply(monkeypatch)
    assert mutation.is_noticed(), "every invariant holds in a machine that is wrong"
