"""Security policies of one crypto session are alternatives: an unknown one before a known one is skipped."""

from __future__ import annotations

import pytest

from sipmikey.mikey.errors import UnsupportedSecurityPolicy
from sipmikey.mikey.header import GenericIdEntry
from sipmikey.mikey.registry import ProtType
from sipmikey.mikey.security_policy import SP, PolicyParam, SrtpPolicy
from sipmikey.sdp.crypto import choose_policy
from sipmikey.sdp.suite import SrtpSuite

KNOWN = SrtpPolicy.aes_cm(32).payload(1)
SUITES = tuple(SrtpSuite)


def odd(kind: int, value: bytes) -> SP:
    return SP(policy_no=0, prot_type=ProtType.SRTP, params=(PolicyParam(param_type=kind, value=value),))


@pytest.mark.parametrize(
    "unknown",
    [
        odd(0, b"\x03"), odd(0, b"\x07"), odd(2, b"\x05"), odd(25, b"\x00"), odd(200, b"abc"), odd(1, b""),
        odd(1, b"\x07"), odd(11, b"\x09"),
    ],
    ids=["SEED-CTR", "cipher 7", "auth 5", "type 25", "type 200", "no length", "key of 7", "tag of 9"],
)  # fmt: skip
def test_an_unknown_alternative_is_passed_over(unknown: SP) -> None:
    policies = {0: unknown, 1: KNOWN}
    for order in ((0, 1), (1, 0)):
        entry = GenericIdEntry(cs_id=1, policies=order)
        found = choose_policy(entry, policies, SUITES)
        assert found is not None
        assert found[0] == 1
    with pytest.raises(UnsupportedSecurityPolicy, match="none of"):
        choose_policy(GenericIdEntry(cs_id=1, policies=(0,)), policies, SUITES)
