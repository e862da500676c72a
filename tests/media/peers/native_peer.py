"""A pjsua2 callee in a process of its own: plays one WAV, records another, keyed by SDES or by C calls.

``native_peer.py PLAY RECORD [SUITE SEND_HEX RECEIVE_HEX]``: with a suite, pjmedia gets these keys (master key
|| salt) through its C interface; without, it negotiates SDES. Prints ``port N`` when ready, ``done {...}``
with its counts after the call, and ends when standard input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from pathlib import Path

import pjsua2 as pj

from sipmikey.agent.pjsua.native.srtp import NativeSrtp
from sipmikey.agent.stack import SrtpKeys
from sipmikey.mikey.secret import Secret

PLAY, RECORD = sys.argv[1:3]
KEYS = (
    SrtpKeys(
        suite=sys.argv[3], send=Secret(bytes.fromhex(sys.argv[4])), receive=Secret(bytes.fromhex(sys.argv[5]))
    )
    if len(sys.argv) > 3
    else None
)
NO_KEYING = 7


class Call(pj.Call):
    over = False
    counts: dict[str, object] | None = None

    def onCallSdpCreated(self, prm):  # noqa: N802
        if KEYS is not None:
            prm.sdp.wholeSdp = prm.sdp.wholeSdp.replace("RTP/AVP", "RTP/SAVP")

    def onStreamCreated(self, prm):  # noqa: N802
        if KEYS is not None:
            srtp.start(int(prm.stream), KEYS)

    def onCallMediaState(self, prm):  # noqa: N802
        info = self.getInfo()  # the media list is a view into it
        if info.media and info.media[0].status == pj.PJSUA_CALL_MEDIA_ACTIVE:
            sound = self.getAudioMedia(0)
            sounds[0].startTransmit(sound)
            sound.startTransmit(sounds[1])

    def onStreamDestroyed(self, prm):  # noqa: N802
        with contextlib.suppress(pj.Error):
            whole = self.getStreamStat(0)  # its parts are views into it
            found = whole.rtcp
            self.counts = {
                "received": found.rxStat.pkt,
                "lost": found.rxStat.loss,
                "discarded": found.rxStat.discard,
                "sent": found.txStat.pkt,
                "cname": found.peerSdes.cname,
            }

    def onCallState(self, prm):  # noqa: N802
        self.over = self.over or self.getInfo().state == pj.PJSIP_INV_STATE_DISCONNECTED


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
config.medConfig.clockRate = config.medConfig.sndClockRate = 8000
endpoint.libInit(config)
transport = pj.TransportConfig()
transport.boundAddress = transport.publicAddress = "127.0.0.1"
number = endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
endpoint.libStart()
endpoint.audDevManager().setNullDev()
for codec in endpoint.codecEnum2():
    endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMA") else 0)
account_config = pj.AccountConfig()
account_config.idUri = "sip:callee@127.0.0.1"
media = account_config.mediaConfig
media.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
media.srtpSecureSignaling = 0
media.transportConfig.boundAddress = media.transportConfig.publicAddress = "127.0.0.1"
methods = pj.IntVector()
methods.append(pj.PJMEDIA_SRTP_KEYING_SDES if KEYS is None else NO_KEYING)
media.srtpOpt.keyings = methods
account = Account()
account.create(account_config)
sounds = [pj.AudioMediaPlayer(), pj.AudioMediaRecorder()]
sounds[0].createPlayer(PLAY)
sounds[1].createRecorder(RECORD)
print("port", endpoint.transportGetInfo(number).localAddress.rpartition(":")[2], flush=True)

while not select.select([sys.stdin], [], [], 0)[0]:
    endpoint.libHandleEvents(10)
    if calls and calls[0].over:
        break
sounds.clear()
while not any(Path(RECORD).read_bytes()[4:8]):  # pjmedia finishes the file, its length, in a later event
    endpoint.libHandleEvents(10)
print("done", json.dumps(calls[0].counts), flush=True)
os._exit(0)  # pjsua2 aborts when objects are freed after their call is gone
