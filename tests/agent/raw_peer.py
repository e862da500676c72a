"""A process with one engine and fixed keys: the SIP stack without any key management.

Reads JSON commands from stdin, one a line, and writes JSON events to stdout. Run with one JSON argument
of settings.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any, Literal

from sipmikey.agent.config import AgentConfig, Audio, Sip, TlsFiles, Transport
from sipmikey.agent.engine import Engine
from sipmikey.agent.stack import (
    CallObserver,
    Lane,
    OfferVerdict,
    Phase,
    Placement,
    Sighting,
    SrtpKeys,
    StackCall,
    StackError,
)
from sipmikey.agent.stack_choice import open_stack
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import profile_by_name
from sipmikey.mikey.secret import Secret
from sipmikey.nat.path import MediaPath
from sipmikey.sip import SipMessage
from sipmikey.sound.settings import News

SUITE_LENGTHS = {"AES_CM_128_HMAC_SHA1_80": 30, "AES_256_CM_HMAC_SHA1_80": 46}

_writing = threading.Lock()


def tell(**event: Any) -> None:
    with _writing:
        print(json.dumps(event), flush=True)


def keys(suite: str, seed: int, *, swapped: bool) -> SrtpKeys:
    length = SUITE_LENGTHS[suite]
    one, other = (Secret(bytes((seed + n + i) % 256 for i in range(length))) for n in (0, 100))
    send, receive = (other, one) if swapped else (one, other)
    directions = _stream_key(suite, send, ssrc=1 + swapped), _stream_key(suite, receive, ssrc=2 - swapped)
    return SrtpKeys(suite=suite, send=send, receive=receive, directions=directions)


def _stream_key(suite: str, keying: Secret, *, ssrc: int) -> StreamKey:
    profile, octets = profile_by_name(suite), keying.reveal()
    key, salt = Secret(octets[: profile.key_length]), Secret(octets[profile.key_length :])
    return StreamKey(profile=profile, key=key, salt=salt, ssrc=ssrc)


class RawCall:
    """Tells everything; keys and answers on command, or at once when the settings say so."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer, self.name = peer, name
        self.call: StackCall | None = None
        self.sdp = ""

    def tell(self, what: str, **more: Any) -> None:
        tell(what=what, call=self.name, **more)

    def on_attached(self, call: StackCall) -> None:
        self.call = call

    def on_local_sdp(self, sdp: str, remote: str) -> str:
        if self.peer.settings.get("bad_sdp"):
            return "this is not SDP"
        if self.peer.settings.get("raise_in_sdp"):
            raise ValueError("no offer today")
        marked = sdp.replace("RTP/AVP", "RTP/SAVP").replace("\r\nm=", "\r\na=key-mgmt:mikey AAAA\r\nm=", 1)
        self.sdp = marked
        return marked

    def on_remote_offer(self, sdp: str) -> OfferVerdict:
        return OfferVerdict()

    def on_stream_created(self, index: int) -> None:
        self.tell("stream", index=index)
        if self.peer.settings.get("key_at_once"):
            self.key(self.peer.settings.get("seed", 1))

    def key(self, seed: int) -> None:
        assert self.call is not None
        suite = self.peer.settings.get("suite", "AES_CM_128_HMAC_SHA1_80")
        swapped = not self.name.startswith("out")
        for index in range(self.peer.settings.get("streams", 1)):
            self.call.key(index, keys(suite, seed, swapped=swapped))
        self.call.connect_audio()
        self.tell("keyed", seed=seed)

    def on_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        self.tell("message", direction=direction, line=message.start_line, status=message.status,
                  to_tag=message.to_tag, body=message.sdp, transport=message.transport)  # fmt: skip

    def on_phase(self, phase: Phase, status: int, reason: str) -> None:
        counts = [[c.sent, c.received, c.lost] for c in self.call.counts()] if self.call else []
        self.tell("phase", phase=phase, status=status, counts=counts)

    def on_dtmf(self, digit: str) -> None:
        self.tell("dtmf", digit=digit)

    def on_transfer_requested(self, target: str) -> int:
        return 603

    def on_transfer_progress(self, status: int, final: bool) -> None:
        self.tell("transfer", status=status, final=final)

    def on_failed(self, error: BaseException) -> None:
        self.tell("failed", kind=type(error).__name__, detail=str(error))
        assert self.call is not None
        self.call.hangup(488)


class StrayExceptions(logging.Handler):
    """Tells exceptions that the stack logs: it goes on after them, but none is meant to come that far."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            tell(what="stray", detail=repr(record.exc_info[1]))


class Peer:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.calls: dict[str, RawCall] = {}
        play = settings.get("play")
        self.engine = Engine(
            AgentConfig(
                identity=settings.get("identity", "sip:raw@127.0.0.1"),
                sip=Sip(
                    stack=settings.get("stack", "pjsua2"),
                    bind=settings.get("bind", "127.0.0.1"),
                    transports=tuple(Transport(t) for t in settings.get("transports", ("udp", "tcp"))),
                    tls=TlsFiles(**{name: Path(path) for name, path in settings.get("tls", {}).items()}),  # type: ignore[arg-type]
                ),
                audio=Audio(
                    play=Path(play) if play else None, repeat=True, streams=settings.get("streams", 1)
                ),
                calls=settings.get("calls", 4),
                log_level=settings.get("log_level", 0),
                log_file=Path(settings["log_file"]) if "log_file" in settings else None,
            ),
            open_stack,
        )

    def on_invite(self, invite: SipMessage, source: str) -> Placement:
        return Placement(lane=Lane(self.settings.get("lane", "secured")))

    def on_incoming(self, call: StackCall, invite: SipMessage, source: str, lane: Lane) -> CallObserver:
        raw = RawCall(self, f"in{len(self.calls)}")
        raw.call = call
        self.calls[raw.name] = raw
        tell(what="incoming", call=raw.name, source=source, lane=lane, body=invite.sdp)
        if lane is Lane.REFUSED:
            self.engine.post(lambda: call.answer(503))
        elif self.settings.get("refuse"):
            self.engine.post(lambda: call.answer(self.settings["refuse"]))
        elif self.settings.get("answer_at_once"):
            self.engine.post(lambda: call.answer(200, sdp=raw.sdp))
        return raw  # type: ignore[return-value]

    def on_message(self, message: SipMessage, source: str) -> None: ...

    def on_turned_away(self, caller: str, status: int, reason: str) -> None:
        tell(what="turned-away", caller=caller, status=status)

    def on_media_path(self, sip_call_id: str, index: int, path: MediaPath) -> None:
        tell(what="media-path", index=index)

    def on_sound_news(self, news: News) -> None:
        raise AssertionError("this peer has no sound devices")

    def on_played(self) -> None:
        tell(what="played")

    def on_registration(self, status: int, reason: str, expires_s: int) -> None:
        tell(what="registration", status=status, expires=expires_s)

    def on_messages_waiting(self, notify: SipMessage, source: str) -> None:
        tell(what="messages", body=notify.sdp)

    def on_presence(self, sighting: Sighting) -> None:
        raise AssertionError("this peer watches nobody")

    def on_stack_lost(self, calls: int, detail: str, again_in_s: float) -> None:
        tell(what="stack-lost", calls=calls, again_in_s=again_in_s)

    def do(self, command: dict[str, Any]) -> None:
        name = command.get("call", "")
        if command["do"] == "call":
            raw = RawCall(self, name)
            self.calls[name] = raw
            try:
                self.engine.call(command["uri"], Lane(command.get("lane", "secured")), raw)  # type: ignore[arg-type]
            except StackError as error:
                tell(what="refused", call=name, detail=str(error))
            return
        call = self.calls[name].call
        assert call is not None
        if command["do"] == "key":
            self.calls[name].key(command["seed"])
        elif command["do"] == "audio":
            call.connect_audio()
        elif command["do"] == "unkey":
            call.unkey()
        elif command["do"] == "answer":
            call.answer(command["status"], sdp=self.calls[name].sdp if command["status"] < 300 else None)
        elif command["do"] == "hangup":
            call.hangup(command.get("status", 0))
        elif command["do"] == "counts":
            tell(what="counts", call=name, counts=[[c.sent, c.received, c.lost] for c in call.counts()])
        elif command["do"] == "hold":
            call.reinvite(hold=True)
        elif command["do"] == "resume":
            call.reinvite(unhold=True)
        elif command["do"] == "dtmf":
            call.dtmf(command["digits"])

    def run(self) -> None:
        logging.getLogger("sipmikey").addHandler(StrayExceptions())
        try:
            self.engine.start(self).result()
        except StackError as error:
            tell(what="not-started", detail=str(error))
            return
        tell(what="ready", addresses=self.engine.addresses)
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "ready_in":
                tell(what="ready_in", seconds=self.engine.submit(lambda: self.engine.ready_in(1)).result())
                continue
            self.engine.submit(lambda c=command: self.do(c)).result()  # type: ignore[misc]
        self.engine.close().result()
        tell(what="closed")


def run() -> None:
    """Run with the settings of the first argument."""
    Peer(json.loads(sys.argv[1])).run()
