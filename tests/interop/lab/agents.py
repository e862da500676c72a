"""Real agents, each in a process of its own, told what to do and asked what happened."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sipmikey.testing.agent_driver import AgentProcess, CallRefused, TestFailure
from sipmikey.testing.process import PeerFailed
from sipmikey.testing.stacks import stack_of
from tests.interop.lab.kamailio import DOMAIN, Kamailio, password
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.interop.lab.sip import bracketed

ANSWER_SECONDS = 20.0
MOST_LOST = 25
"""Packets at a change of keys: half a second. Fewer are lost where nothing else uses the machine's cores."""
Failed = CallRefused
KEY_LENGTHS = {"AES_256_CM_HMAC_SHA1_80": 32, "AES_CM_128_HMAC_SHA1_80": 16}
told: list[list[dict[str, Any]]] = []
"""What all agents of the test told so far, among it their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKey:
    """What a stream was keyed with, one direction."""

    suite: str
    key: bytes
    salt: bytes


class Agent(AgentProcess):
    """A running agent, stopped like a machine that loses power. A context manager.

    Raises PeerFailed, with what the agent printed, when it does not start.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        try:
            seen: list[dict[str, Any]] = []
            told.append(seen)
            super().__init__(name, settings, seen)
        except TestFailure as failure:
            raise PeerFailed(str(failure)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.kill()

    @property
    def port(self) -> int:
        """The UDP and TCP port it listens on."""
        return int(self.contact.partition(";")[0].rpartition(":")[2])

    @property
    def now(self) -> int:
        """How much the agent has told: a place from which `event` may look."""
        return len(self.seen)

    def events(self, kind: str | None = None, *, start: int = 0) -> list[dict[str, Any]]:
        """The agent's events so far, of one *kind* or all."""
        return [
            event
            for event in self.seen[start:]
            if kind == event["type"] or (kind is None and not event["type"].startswith("kit."))
        ]

    def stop(self) -> None:
        """End the process at once: nothing is hung up or unregistered."""
        self.kill()

    def incoming(self, *, start: int = 0) -> dict[str, Any]:
        """Wait for a call that passed the checks: an event with ``call``, ``caller`` and ``called``."""
        return self.event("kit.incoming", start=start)

    def keys(self, *, start: int = 0) -> list[dict[str, Any]]:
        """Everything SRTP was keyed with, in order: {index, suite, send, receive} in hexadecimal."""
        return self.events("kit.srtp_keys", start=start)

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
    sip: dict[str, Any] = {"bind": host, "stack": stack_of(uri(user))}
    made: dict[str, Any] = {"identity": uri(user), "incoming": incoming, "reveal_keys": True}
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
        made["keys"] = {"kms": IDENTITY, "psk": subscriber.psk, "psk_id": subscriber.psk_id}
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
