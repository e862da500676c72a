"""The same seed gives the same messages; time moves when told to."""

from __future__ import annotations

import pytest

from sipmikey.mikey.errors import InvalidTimestamp
from sipmikey.testing import FakeClock, seeded_environment


def test_the_same_seed_gives_the_same_values_and_another_does_not() -> None:
    one, same, other = (seeded_environment(seed) for seed in (1, 1, 2))
    values = [(env.random(32), env.csb_id(), env.timestamp()) for env in (one, same, other)]
    assert values[0] == values[1]
    assert values[0][0] != values[2][0]


def test_a_fake_clock_never_gives_a_time_twice_and_moves_when_told() -> None:
    clock = FakeClock()
    first, second = clock.now_ns(), clock.now_ns()
    assert second == first + 1
    clock.advance(90)
    assert clock.now_ns() - second >= 90_000_000_000
    clock.advance(-180)
    assert clock.now_ns() < first


def test_time_passes_for_the_core_too() -> None:
    clock = FakeClock()
    environment = seeded_environment(1, clock, clock_skew_s=60)
    stamp = environment.timestamp()
    clock.advance(59)
    environment.check_timestamp(stamp, "TRANSFER_INIT")
    clock.advance(2)
    with pytest.raises(InvalidTimestamp):
        environment.check_timestamp(stamp, "TRANSFER_INIT")
