"""A back-to-back agent: a phone that keys by SDES calls a phone that keys by MIKEY-TICKET.

    python examples/stacks/bridge.py --identity sip:bridge@example.com --kms URL --psk-id bridge \\
        --psk-file bridge.psk --port 5060 --via sip:127.0.0.1:5070

Who calls ``sip:bob@...`` here with a=crypto (RFC 4568) is put through to ``sip:bob@example.com``, the domain
of our identity, with a ticket of our own. Sound is G.711 A-law; the bridge opens it and protects it again.

WHERE PROTECTION ENDS: here. Between the bridge and the called phone the media is protected end to end. On the
side of the SDES phone every SIP proxy reads the keys, and the operator of the bridge hears both sides. The
called phone therefore sees the identity of the bridge, for which the KMS vouches, and the caller only as a
name with "not end to end" behind it. The bridge does not pass on digits, video, hold and transfer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
import sys
from collections import deque
from contextlib import suppress
from typing import Any

import sipmessage
from account import Account, account, account_parser
from sipua import TransportAddress
from sipua_calls import AnsweredOnSipua, Calling, Stack, identity_in
from voice import Voice

from sipmikey.call import events, inputs
from sipmikey.call.outputs import Headers
from sipmikey.media.endpoint import MediaLoop, udp_pair
from sipmikey.media.errors import PacketRefused
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import profile_by_name
from sipmikey.media.srtp import SrtpReceiver
from sipmikey.media.stream import RtpStream
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.secret import Secret

SUITE = "AES_CM_128_HMAC_SHA1_80"
PROFILE = profile_by_name(SUITE)
NOTICE = "protection by MIKEY-TICKET ends here: the side of the SDES phone is not end to end"

_CRYPTO = re.compile(rf"(?m)^a=crypto:(\d{{1,9}}) {SUITE} inline:([A-Za-z0-9+/=]+)(\|[^\s:]*)?\r?$")
_AUDIO = re.compile(r"(?m)^m=audio (\d+) RTP/SAVPF? ([\d ]+)\r?$")
_ADDRESS = re.compile(r"(?m)^c=IN IP4 ([\d.]+)")
_NOT_ACCEPTABLE, _TERMINATED, _UNAVAILABLE = 488, 487, 480
_HELD_FRAMES = 10


class Unfit(Exception):
    """An offer that cannot be bridged; the text says why."""


class Pipe:
    """What one side is heard to say, for the other to be told: a sink and a source of G.711 frames."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque(maxlen=_HELD_FRAMES)

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take a frame; the oldest goes where there are too many."""
        self._frames.append(payload)

    def next_frame(self) -> bytes | None:
        """Return the frame whose turn it is, or None."""
        return self._frames.popleft() if self._frames else None


class SdesOffer:
    """What an offer with a=crypto says: where the phone is heard, and under which key. Raises `Unfit`."""

    def __init__(self, sdp: str) -> None:
        audio, address = _AUDIO.search(sdp), _ADDRESS.search(sdp)
        if audio is None or address is None or audio[1] == "0":
            raise Unfit("the offer has no audio under SRTP at an IPv4 address")
        if "8" not in audio[2].split():
            raise Unfit("the offer does not have G.711 A-law")
        crypto = _CRYPTO.search(sdp)
        if crypto is None:
            raise Unfit(f"the offer has no a=crypto with {SUITE} and without an MKI")
        try:
            octets = base64.b64decode(crypto[2], validate=True)
        except binascii.Error:
            octets = b""
        if len(octets) != PROFILE.keying_length:
            raise Unfit(f"the key of a=crypto is not {PROFILE.keying_length} octets in base64")
        self.tag = crypto[1]
        self.keying = Secret(octets)
        self.where = (address[1], int(audio[1]))


class SdesStream(RtpStream):
    """G.711 under the keys of SDES, which does not tell SSRCs: the first that verifies is taken."""

    def __init__(self, offer: SdesOffer, *, source: Pipe, sink: Pipe) -> None:
        super().__init__(codec=PCMA, cname="sipmikey-bridge", source=source, sink=sink)
        self._keying = offer.keying
        self._theirs: int | None = None
        self.own = Secret(secrets.token_bytes(PROFILE.keying_length))
        self.send_with(_stream_key(self.own, self.new_ssrc()))

    def receive(self, packet: bytes, arrival_ns: int) -> None:
        """Take a packet; one with a new SSRC is tried first."""
        ssrc = int.from_bytes(packet[8:12])
        if ssrc != self._theirs and len(packet) > 12 and not 192 <= packet[1] <= 223:
            key = _stream_key(self._keying, ssrc)
            with suppress(PacketRefused):
                SrtpReceiver(key).unprotect(packet)
                self._theirs = ssrc
                self.receive_with(key)
        super().receive(packet, arrival_ns)


def _stream_key(keying: Secret, ssrc: int) -> StreamKey:
    octets = keying.reveal()
    key, salt = Secret(octets[: PROFILE.key_length]), Secret(octets[PROFILE.key_length :])
    return StreamKey(profile=PROFILE, key=key, salt=salt, ssrc=ssrc)


class SdesCall(AnsweredOnSipua):
    """The side of the SDES phone. ``over``: why it is over."""

    def __init__(self, bridge: Bridge, request: sipmessage.Request) -> None:
        super().__init__(bridge, request)
        self.over = ""
        self.answered = False
        self.other: BridgedCall | None = None
        offer = SdesOffer(request.body.decode(errors="replace"))
        self._tag = offer.tag
        to_them, self.from_them = Pipe(), Pipe()
        self.to_them = to_them
        self.stream = SdesStream(offer, source=to_them, sink=self.from_them)
        self._loop = bridge.media
        self._port = self._loop.open(self.stream, *udp_pair(bridge.host))
        self._port.send_to(offer.where)
        self._host = bridge.host

    def answer(self) -> None:
        """Answer with 200: the other side has, and its media is keyed."""
        own = base64.b64encode(self.stream.own.reveal()).decode()
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {self._host}\r\ns=-\r\nc=IN IP4 {self._host}\r\nt=0 0\r\n"
            f"m=audio {self._port.local[1]} RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
            f"a=crypto:{self._tag} {SUITE} inline:{own}\r\na=sendrecv\r\n"
        )
        self.answered = True
        self.send_answer(200, sdp, ())

    def end(self, why: str, *, status: int = _UNAVAILABLE, by_peer: bool = False) -> None:
        """End it, unless it is over: BYE where it was answered, a failure where not."""
        if self.over:
            return
        self.over = why
        if not by_peer and self.answered:
            self.send_bye("", ())
        elif not by_peer:
            self.send_answer(status, "", (("Warning", f'399 bridge "{why}"'),))
        self._loop.shut(self._port)
        if self.other is not None and self.other.over is None:
            self.other.hang_up()

    async def take(self, request: sipmessage.Request) -> None:
        """Take a request of the SDES phone."""
        if request.method == "ACK":
            self.acknowledged_by_peer = True
            return
        await self.phone.reply(
            request, 200 if request.method in ("BYE", "CANCEL", "OPTIONS") else _NOT_ACCEPTABLE
        )
        if request.method == "BYE":
            self.end("the SDES phone hung up", by_peer=True)
        elif request.method == "CANCEL" and not self.answered:
            self.end("the SDES phone gave up", status=_TERMINATED)


class BridgedCall(Calling):
    """The side of the MIKEY-TICKET phone; what happens to it goes on to the SDES phone."""

    sdes: SdesCall

    def on_event(self, event: events.Event) -> None:
        super().on_event(event)
        match event:
            case events.CallRinging() if not self.sdes.over:
                self.sdes.send_answer(180, "", ())
            case events.CallAnswered() if not self.sdes.over:
                self.sdes.answer()
            case events.CallEnded():
                self.voice.close()
                self.sdes.end(f"{event.reason}: {event.detail}", status=_failure(event))


def _failure(event: events.CallEnded) -> int:
    """Return the status for the SDES phone: that of the called phone where it names a reason of its own."""
    return event.status if event.status in (486, 480, 404, 600, 603) else _UNAVAILABLE


class Bridge(Stack):
    """All calls that are put through. *via*: where INVITEs go, empty for the domain of our identity."""

    def __init__(self, account: Account, media: MediaLoop, host: str, via: str) -> None:
        super().__init__(account)
        self.media = media
        self.host = host
        self._via = via
        self._domain = account.identity.partition("@")[2]

    def went(self, error: BaseException | None, *, idle: bool) -> None:
        if error is not None:
            print(f"a call failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if idle:
            for call_id in [call_id for call_id, call in self.calls.items() if call.over]:
                del self.calls[call_id]

    async def invited(self, request: sipmessage.Request) -> None:
        called = f"sip:{request.uri.user}@{self._domain}"
        print(f"{identity_in(request)} calls {called}: {NOTICE}", flush=True)
        try:
            sdes = self.calls[request.call_id or ""] = SdesCall(self, request)
        except Unfit as error:
            print(f"refused: {error}", flush=True)
            refusing = AnsweredOnSipua(self, request)
            headers: Headers = (("Warning", f'399 bridge "{error}"'),)
            refusing.send_answer(_NOT_ACCEPTABLE, "", headers)
            return
        self.begin(self._put_through(sdes, called, request.from_address.uri.user or "somebody"))

    async def _put_through(self, sdes: SdesCall, called: str, caller: str) -> None:
        try:
            grant = await asyncio.to_thread(self.account.get_ticket, called)
        except PeerError as error:
            sdes.end(f"no ticket for {called}: {error.reason}")
            return
        if sdes.over:
            return
        user, _, _ = called.removeprefix("sip:").partition("@")
        via = self._via.replace("sip:", f"sip:{user}@", 1)
        voice = Voice(self.media, self.host, source=sdes.from_them, sink=sdes.to_them)
        name = re.sub(r"[^\w.+-]", "", caller) + " (not end to end)"
        call = BridgedCall(self, called, grant, via, voice, display_name=name)
        call.sdes, sdes.other = sdes, call
        self.calls[call.call_id] = call
        call.tell(inputs.Start())


async def serve(options: Any) -> None:
    """Put calls through until interrupted."""
    with MediaLoop() as media:
        bridge = Bridge(account(options), media, options.host, options.via or "")
        await bridge.listen(TransportAddress("udp", options.host, options.port))
        print(NOTICE, flush=True)
        print("ready", options.port, flush=True)
        await asyncio.Event().wait()


def main(arguments: list[str] | None = None) -> int:
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(account_parser(__doc__ or "").parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
