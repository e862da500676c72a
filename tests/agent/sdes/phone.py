"""A process with a plain pjsua2 phone that keys by SDES and knows nothing of MIKEY-TICKET.

Answers what it understands at once; ``call`` calls. JSON commands in, JSON events out; one JSON argument of
settings.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pjsua2 as pj

TRANSPORTS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tls": pj.PJSIP_TRANSPORT_TLS}


def tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


class Phone(pj.Account):  # type: ignore[misc]
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings
        self.calls: list[Call] = []

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        call = Call(self, prm.callId)
        self.calls.append(call)
        tell(type="invite", mikey="a=key-mgmt:" in prm.rdata.wholeMsg)
        parameters = pj.CallOpParam(True)
        parameters.statusCode = 200
        parameters.opt.videoCount = 0
        call.answer(parameters)


class Call(pj.Call):  # type: ignore[misc]
    def __init__(self, phone: Phone, number: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone, number)
        self.phone = phone

    def onCallState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            tell(type="over", status=int(info.lastStatusCode))

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        if info.media[0].status == pj.PJSUA_CALL_MEDIA_ACTIVE:
            tell(type="talking")
            pj.Endpoint.instance().audDevManager().getCaptureDevMedia().startTransmit(self.getAudioMedia(-1))

    def received(self) -> int:
        statistics = self.getStreamStat(0)
        return int(statistics.rtcp.rxStat.pkt)


def configuration(settings: dict[str, Any]) -> Any:
    account = pj.AccountConfig()
    account.idUri = settings["identity"]
    account.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
    account.mediaConfig.srtpSecureSignaling = 0
    account.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    methods = pj.IntVector()
    methods.append(pj.PJMEDIA_SRTP_KEYING_SDES)
    account.mediaConfig.srtpOpt.keyings = methods
    return account


def listen(endpoint: Any, settings: dict[str, Any], name: str) -> str:
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    if name == "tls":
        folder = Path(settings["tls"])
        transport.tlsConfig.CaListFile = str(folder / "authority.pem")
        transport.tlsConfig.certFile = str(folder / "certificate.pem")
        transport.tlsConfig.privKeyFile = str(folder / "key.pem")
    number = endpoint.transportCreate(TRANSPORTS[name], transport)
    return str(endpoint.transportGetInfo(number).localAddress)


def main(settings: dict[str, Any]) -> None:
    # pjlib prints its first lines before any configuration applies.
    ctypes.CDLL(pj._pjsua2.__file__).pj_log_set_level(0)
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    general = pj.EpConfig()
    general.uaConfig.threadCnt = 0
    general.uaConfig.mainThreadOnly = True
    general.logConfig.level = general.logConfig.consoleLevel = 0
    endpoint.libInit(general)
    addresses = {name: listen(endpoint, settings, name) for name in ("udp", "tls") if name in settings["on"]}
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    phone = Phone(settings)
    phone.create(configuration(settings))
    commands: list[dict[str, Any] | None] = []

    def read() -> None:
        for line in sys.stdin:
            commands.append(json.loads(line))
        commands.append(None)

    threading.Thread(target=read, daemon=True).start()
    tell(type="ready", addresses=addresses)
    while True:
        endpoint.libHandleEvents(20)
        if not commands:
            continue
        command = commands.pop(0)
        if command is None:
            os._exit(0)
        if command["do"] == "call":
            call = Call(phone)
            phone.calls.append(call)
            parameters = pj.CallOpParam(True)
            parameters.opt.videoCount = 0
            call.makeCall(command["uri"], parameters)
        elif command["do"] == "received":
            tell(type="received", packets=phone.calls[-1].received())


def run() -> None:
    """Run with the settings of the first argument."""
    main(json.loads(sys.argv[1]))
