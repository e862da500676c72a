"""Real agents, each in a process of its own, told what to do and asked what happened."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.interop.lab.kamailio import DOMAIN, Kamailio, password
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.interop.lab.process import PeerFailed, Process
from tests.interop.lab.sip import bracketed

PROGRAM = Path(__file__).with_name("agent_main.py")
ROOT = Path(__file__).parents[3]
ANSWER_SECONDS = 20.0
KEY_LENGTHS = {"AES_256_CM_HMAC_SHA1_80": 32, "AES_CM_128_HMAC_SHA1_80": 16}


class Failed(Exception):
    """A command of the agent ended with `CallFailed`."""

    def __init__(self, reason: str, side: str, status: int, detail: str) -> None:
        super().__init__(f"{reason} ({side}, {status}): {detail}")
        self.reason = reason
        self.side = side
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKey:
    """What a stream was keyed with, one direction."""

    suite: str
    key: bytes
    salt: bytes


class Agent:
    """A running agent. A context manager; `do` waits for the outcome of a command, `start` does not."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = settings
        self._number = itertools.count(1)
        self.process = Process(
            [sys.executable, PROGRAM, json.dumps(settings)],
            name=name,
            env={"PYTHONPATH": str(ROOT)},
            stdin=True,
        )
        try:
            ready = self._document(self.process.wait_for('"ready"', timeout=ANSWER_SECONDS))
        except PeerFailed:
            self.process.stop()
            raise
        self.contact: str = ready["contact"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.stop()

    @property
    def port(self) -> int:
        """The UDP and TCP port it listens on."""
        return int(self.contact.partition(";")[0].rpartition(":")[2])

    @property
    def now(self) -> int:
        """How much the agent has said: a place from which `event` may look."""
        return len(self.process.lines)

    def start(self, verb: str, **arguments: Any) -> int:
        """Give a command; `finish` takes its outcome."""
        number = next(self._number)
        self.process.write_line(json.dumps({"id": number, "do": verb, **arguments}))
        return number

    def finish(self, number: int, *, timeout: float = ANSWER_SECONDS) -> Any:
        """The result of a command given before; raises `Failed`."""
        wanted = f'{{"reply": {number},'
        reply = self._document(self.process.wait_for(lambda line: line.startswith(wanted), timeout=timeout))
        if "failed" in reply:
            raise Failed(**reply["failed"])
        if "error" in reply:
            raise PeerFailed(f"{self.name}: {reply['error']}\n{self.process.tail()}")
        return reply["ok"]

    def do(self, verb: str, *, timeout: float = ANSWER_SECONDS, **arguments: Any) -> Any:
        return self.finish(self.start(verb, **arguments), timeout=timeout)

    def event(
        self, kind: str, *, timeout: float = ANSWER_SECONDS, start: int = 0, **values: Any
    ) -> dict[str, Any]:
        """Wait for an event of *kind* whose fields have *values*, said after *start*."""

        def fits(line: str) -> bool:
            event = _event(line)
            return event is not None and event["type"] == kind and _has(event, values)

        return dict(self._document(self.process.wait_for(fits, timeout=timeout, start=start))["event"])

    def events(self, kind: str | None = None, *, start: int = 0) -> list[dict[str, Any]]:
        """The events so far, of one *kind* or all."""
        found = (_event(line) for line in self.process.lines[start:])
        return [event for event in found if event is not None and kind in (None, event["type"])]

    def incoming(self, *, timeout: float = ANSWER_SECONDS, start: int = 0) -> dict[str, Any]:
        """Wait for a call that passed the checks: {incoming: number, caller, called}."""
        at = self.process.wait_for(lambda line: line.startswith('{"incoming"'), timeout=timeout, start=start)
        return dict(self._document(at))

    def keys(self, *, start: int = 0) -> list[dict[str, Any]]:
        """Everything SRTP was keyed with, in order: {index, suite, send, receive} in hexadecimal."""
        lines = [line for line in self.process.lines[start:] if line.startswith('{"keys"')]
        return [json.loads(line)["keys"] for line in lines]

    def sending_key(self, index: int = 0) -> SrtpKey:
        """The key this agent sent the stream *index* with, last."""
        last = [keys for keys in self.keys() if keys["index"] == index][-1]
        octets = bytes.fromhex(last["send"])
        length = KEY_LENGTHS[last["suite"]]
        return SrtpKey(suite=last["suite"], key=octets[:length], salt=octets[length:])

    def call(self, target: str) -> str:
        """Call, wait until established, and return the call's number."""
        number: str = self.do("call", uri=target)
        self.do("established", call=number)
        return number

    def hear(self, call: str, packets: int) -> None:
        """Return once *packets* have been decrypted in the call: 50 of them are a second."""
        wait_until(
            lambda: self.do("stats", call=call)["streams"][0]["decrypted"] >= packets,
            f"{packets} packets at {self.name}",
        )

    def stop(self) -> None:
        self.process.stop()

    def _document(self, index: int) -> Any:
        return json.loads(self.process.lines[index])


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"event"'):
        return None
    return dict(json.loads(line)["event"])


def _has(event: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return all(event.get(name) == value for name, value in values.items())


def settings(
    user: str,
    kms: Kms | None,
    *,
    proxy: Kamailio | None = None,
    peer: Agent | int | None = None,
    play: Path | None = None,
    record: Path | None = None,
    incoming: str = "answer",
    host: str = "127.0.0.1",
    **more: Mapping[str, Any] | Any,
) -> dict[str, Any]:
    """Settings of a lab user's agent on *host*, 127.0.0.1 or ::1.

    With *proxy* it registers there and sends everything through it; with *peer* (an agent, or a port) it
    sends everything straight to that, whatever URI is called. Further sections (``sip``, ``policy``,
    ``timeouts``, ``audio``, ``keys``) are merged into those made here.
    """
    subscriber = kms.subscribers.get(user) if kms else None
    sip: dict[str, Any] = {"bind": host}
    made: dict[str, Any] = {"identity": uri(user), "incoming": incoming}
    if proxy is not None:
        at = {"proxy": proxy.uri, "trusted_proxies": [proxy.address]}
        if host == "::1":
            at = {"proxy": proxy.route(host=host), "trusted_proxies": [host]}
        sip |= {"registrar": f"sip:{DOMAIN}", **at}
        made["digest"] = {"username": user, "password": password(user)}
    if peer is not None:
        port = peer if isinstance(peer, int) else peer.port
        sip["proxy"] = f"sip:{bracketed(host)}:{port};lr"
    if kms is not None and subscriber is not None:
        made["kms_url"] = kms.url
        made["keys"] = {"kms": IDENTITY, "psk": subscriber.psk.hex(), "psk_id": subscriber.psk_id}
    audio: dict[str, Any] = {"codecs": ["PCMA"], "repeat": True}
    audio |= {name: str(path) for name, path in (("play", play), ("record", record)) if path}
    made |= {"sip": sip, "audio": audio}
    for section, values in more.items():
        made[section] = {**made.get(section, {}), **values} if isinstance(values, Mapping) else values
    return made


def wait_until(condition: Any, what: str, *, timeout: float = ANSWER_SECONDS) -> None:
    """Return once *condition()* is true, where there is nothing but a counter to look at."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise PeerFailed(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)
