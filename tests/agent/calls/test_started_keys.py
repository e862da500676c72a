"""No master key is given to the stack twice, whatever call, process or salt it comes with."""

from __future__ import annotations

import pytest

from sipmikey.agent.driver.started_keys import StartedKeys
from sipmikey.call.keying.lanes import SrtpKeys
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.secret import Secret

SUITE = "AES_CM_128_HMAC_SHA1_80"


def keys(send: int, receive: int, *, salt: int = 0, suite: str = SUITE) -> SrtpKeys:
    length = 32 if "256" in suite else 16
    one, other = (Secret(bytes((number,)) * length + bytes((salt,)) * 14) for number in (send, receive))
    return SrtpKeys(suite=suite, send=one, receive=other)


@pytest.mark.parametrize(
    "again", [keys(1, 2), keys(1, 3), keys(3, 2), keys(1, 2, salt=1)], ids=["both", "send", "receive", "salt"]
)
def test_a_key_that_ran_is_refused(again: SrtpKeys) -> None:
    started = StartedKeys()
    started.start(keys(1, 2))
    with pytest.raises(AgentError) as caught:
        started.start(again)
    assert caught.value.reason is Reason.KEY_EXPIRED


def test_a_call_with_oneself_has_each_key_once_in_either_direction() -> None:
    started = StartedKeys()
    started.start(keys(1, 2))
    started.start(keys(2, 1))


def test_keys_of_other_lengths_are_other_keys() -> None:
    started = StartedKeys()
    started.start(keys(1, 2))
    started.start(keys(1, 2, suite="AES_256_CM_HMAC_SHA1_80"))


def test_no_key_is_kept_and_memory_is_bounded() -> None:
    started = StartedKeys(remembered=4)
    for number in range(0, 40, 2):
        started.start(keys(number, number + 1))
    assert len(started._names) == 4
    assert not any(bytes((38,)) * 8 in name for name in started._names)
