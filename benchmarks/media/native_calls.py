"""Four calls between two pjsua2 processes: ``native_calls.py callee|caller MODE WAV [PORT]``.

MODE: ``rtp`` plain, ``sdes`` keyed by SDES, ``keyed`` keyed as the agent does it (pjmedia's own SRTP,
keys through its C interface). Four calls are what a process of the usual build takes; audio is set up as the
agent does it. The callee prints ``port N``, the caller ``ready`` when all calls have media. For each line on
standard input: ``counts {...}``.
"""

from __future__ import annotations

import json
import os
import select
import sys

import pjsua2 as pj

from sipmikey.agent.pjsua.native.srtp import NativeSrtp
from sipmikey.agent.stack import SrtpKeys
from sipmikey.mikey.secret import Secret

ROLE, MODE, PLAY = sys.argv[1:4]
CALLS = 4
NO_KEYING = 7
SUITE = "AES_CM_128_HMAC_SHA1_80"
KEYS = (Secret(bytes(range(30))), Secret(bytes(range(30, 60))))
PACE_MS = 100


class Call(pj.Call):
    active = False

    def onCallSdpCreated(self, prm):  # noqa: N802
        if MODE == "keyed":
            prm.sdp.wholeSdp = prm.sdp.wholeSdp.replace("RTP/AVP", "RTP/SAVP")

    def onStreamCreated(self, prm):  # noqa: N802
        if MODE == "keyed":
            send, receive = KEYS if ROLE == "caller" else KEYS[::-1]
            srtp.start(int(prm.stream), SrtpKeys(suite=SUITE, send=send, receive=receive))

    def onCallMediaState(self, prm):  # noqa: N802
        info = self.getInfo()  # the media list is a view into it
        if info.media and info.media[0].status == pj.PJSUA_CALL_MEDIA_ACTIVE:
            self.active = True
            player.startTransmit(self.getAudioMedia(0))


class Account(pj.Account):
    def onIncomingCall(self, prm):  # noqa: N802
        call = Call(self, prm.callId)
        calls.append(call)
        answer = pj.CallOpParam()
        answer.statusCode = 200
        call.answer(answer)


calls: list[Call] = []
srtp = NativeSrtp()
endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.logConfig.level = config.logConfig.consoleLevel = 0
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
config.medConfig.noVad = True
config.medConfig.ecTailLen = 0
endpoint.libInit(config)
transport = pj.TransportConfig()
transport.boundAddress = transport.publicAddress = "127.0.0.1"
number = endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
endpoint.libStart()
endpoint.audDevManager().setNullDev()
for codec in endpoint.codecEnum2():
    endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMA") else 0)
local = endpoint.transportGetInfo(number).localAddress
settings = pj.AccountConfig()
settings.idUri = f"sip:{ROLE}@{local}"
media = settings.mediaConfig
media.transportConfig.boundAddress = media.transportConfig.publicAddress = "127.0.0.1"
if MODE != "rtp":
    media.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
    media.srtpSecureSignaling = 0
    methods = pj.IntVector()
    methods.append(pj.PJMEDIA_SRTP_KEYING_SDES if MODE == "sdes" else NO_KEYING)
    media.srtpOpt.keyings = methods
account = Account()
account.create(settings)
player = pj.AudioMediaPlayer()
player.createPlayer(PLAY)
if ROLE == "callee":
    print("port", local.rpartition(":")[2], flush=True)
else:
    for _ in range(CALLS):
        call = Call(account)
        calls.append(call)
        call.makeCall(f"sip:callee@127.0.0.1:{sys.argv[4]}", pj.CallOpParam(True))
        for _ in range(PACE_MS // 10):
            endpoint.libHandleEvents(10)
    while not all(call.active for call in calls):
        endpoint.libHandleEvents(10)
    print("ready", flush=True)
while True:
    endpoint.libHandleEvents(20)
    if select.select([sys.stdin], [], [], 0)[0]:
        if not sys.stdin.readline():
            break
        found = [call.getStreamStat(0).rtcp for call in calls]
        counts = {
            "sent": sum(stat.txStat.pkt for stat in found),
            "received": sum(stat.rxStat.pkt for stat in found),
            "lost": sum(stat.rxStat.loss for stat in found),
        }
        print("counts", json.dumps(counts), flush=True)
os._exit(0)  # pjsua2 aborts when objects are freed after their calls are gone
