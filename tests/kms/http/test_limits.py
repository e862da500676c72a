"""Rate limits: the promised rate and burst, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter, address_key


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.floats(0.1, 1000.0),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, gaps: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(per_second=rate, burst=burst, now=clock)
    admitted: list[float] = []
    for gap in gaps:
        clock.now += gap
        wait = limiter.retry_after("key")
        if wait is None:
            admitted.append(clock.now)
        else:
            assert 0 < wait <= 1 / rate + 1e-6
    for start, first in enumerate(admitted):
        for end in range(start, len(admitted)):
            span = admitted[end] - first
            assert end - start + 1 <= burst + span * rate + 1e-3


@given(rate=st.floats(0.1, 1000.0), burst=st.integers(1, 20))
def test_after_the_wait_it_told_a_message_is_admitted(rate: float, burst: int) -> None:
    clock = Clock()
    limiter = RateLimiter(per_second=rate, burst=burst, now=clock)
    for _ in range(burst):
        assert limiter.retry_after("key") is None
    wait = limiter.retry_after("key")
    assert wait is not None
    assert limiter.retry_after("other") is None
    clock.now += wait + 1e-6
    assert limiter.retry_after("key") is None


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    clock = Clock()
    limiter = RateLimiter(per_second=0.001, burst=1, now=clock, entries=10)
    for number in range(1000):
        limiter.retry_after(str(number))
    assert len(limiter) == 10
    assert limiter.retry_after("999") is not None
    assert limiter.retry_after("0") is None


@pytest.mark.parametrize(("rate", "burst", "entries"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_a_limit_that_makes_no_sense_is_an_error(rate: float, burst: int, entries: int) -> None:
    with pytest.raises(LocalError):
        RateLimiter(per_second=rate, burst=burst, now=Clock(), entries=entries)


def test_addresses_of_one_site_count_together() -> None:
    assert address_key("192.0.2.1") != address_key("192.0.2.2")
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:1")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("::ffff:192.0.2.1") == address_key("192.0.2.1")
    assert address_key("unknown") == "unknown"
