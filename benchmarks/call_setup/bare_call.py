"""A caller or callee on bare pjsua2, without anything of sipmikey: the yardstick.

`bare_call.py callee KEYING` prints its SIP URI and answers every call with 200 at once.
`bare_call.py caller KEYING URI COUNT` makes the calls and prints the milliseconds from INVITE to CONFIRMED.
KEYING is rtp or sdes.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pjsua2 as pj

PAUSE_S = 0.08
"""pjsua2 aborts when calls follow one another within some ten milliseconds."""

SRTP = {"rtp": pj.PJMEDIA_SRTP_DISABLED, "sdes": pj.PJMEDIA_SRTP_MANDATORY}


class Account(pj.Account):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        call = Call(self, prm.callId)
        self.calls.append(call)
        answer = pj.CallOpParam(True)
        answer.statusCode = 200
        call.answer(answer)


class Call(pj.Call):  # type: ignore[misc]
    confirmed = 0.0
    over = False

    def onCallState(self, prm: Any) -> None:  # noqa: N802
        state = self.getInfo().state
        if state == pj.PJSIP_INV_STATE_CONFIRMED:
            self.confirmed = time.perf_counter()
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.over = True


def open_stack(keying: str) -> tuple[pj.Endpoint, Account, str]:
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = 0
    endpoint.libInit(config)
    endpoint.audDevManager().setNullDev()
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    number = endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    uri = f"sip:bare@{endpoint.transportGetInfo(number).localAddress}"
    settings = pj.AccountConfig()
    settings.idUri = uri
    settings.mediaConfig.srtpUse = SRTP[keying]
    settings.mediaConfig.srtpSecureSignaling = 0
    settings.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account = Account()
    account.create(settings)
    return endpoint, account, uri


def run_until(endpoint: pj.Endpoint, done: Any) -> None:
    deadline = time.monotonic() + 10.0
    while not done():
        endpoint.libHandleEvents(1)
        if time.monotonic() > deadline:
            raise SystemExit("no progress for 10 s")


def call_once(endpoint: pj.Endpoint, account: Account, target: str) -> float:
    call = Call(account)
    account.calls.append(call)
    start = time.perf_counter()
    call.makeCall(target, pj.CallOpParam(True))
    run_until(endpoint, lambda: call.confirmed)
    call.hangup(pj.CallOpParam())
    run_until(endpoint, lambda: call.over)
    return (call.confirmed - start) * 1000


def main(role: str, keying: str, *rest: str) -> None:
    endpoint, account, uri = open_stack(keying)
    if role == "callee":
        print(uri, flush=True)
        while True:
            endpoint.libHandleEvents(20)
    target, count = rest
    for _ in range(int(count)):
        print(f"setup {call_once(endpoint, account, target):.3f}", flush=True)
        until = time.monotonic() + PAUSE_S
        while time.monotonic() < until:
            endpoint.libHandleEvents(10)
    # pjsua2 asserts when its objects are freed after the library: leave without that.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
