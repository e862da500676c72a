"""The process of one agent under test: commands come as JSON lines on stdin, events and results go out.

`python -m sipmikey.testing.agent_process` is started by `sipmikey.testing.agent_driver`. The first line holds
the settings, see `agent_config` and `main`; each other one is a command, `{"id": 1, "do": "call", ...}`. Its
outcome is `{"id": 1, "result": ...}` or `{"id": 1, "error": {...}}`. Everything else that is printed is an
event: the agent's own, and those of type `kit.*`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sipmikey import system
from sipmikey.agent import (
    Agent,
    AgentConfig,
    Alternative,
    Audio,
    Call,
    CallFailed,
    CallPolicy,
    Conference,
    DigestCredentials,
    Fallback,
    IncomingCall,
    KeyManagement,
    Question,
    Retarget,
    SecurityMode,
    Sip,
    Timeouts,
    TlsFiles,
    Transport,
    document,
)
from sipmikey.agent.driver.call_driver import CallDriver
from sipmikey.agent.stack import SrtpKeys, StackCall, StreamCount
from sipmikey.agent.tickets.file import TicketFile
from sipmikey.call.policy import Forked
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.nat.servers import NatSettings
from sipmikey.sip import SipMessage
from sipmikey.sound.settings import SoundSettings
from sipmikey.ticket.credentials import CertificateCredential, TicketProtectionKey
from sipmikey.ticket.mode import Mode
from sipmikey.ticket.shared_keys import SharedTicketKey

LONGEST_LINE = 1 << 20
_UNAVAILABLE = 480

Fields = dict[str, Any]


def say(fields: Mapping[str, Any]) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def agent_config(settings: Fields) -> AgentConfig:
    """Return the agent's configuration.

    The sections ``keys``, ``policy``, ``sip``, ``nat``, ``audio`` and ``timeouts`` have the fields of
    `KeyManagement`, `CallPolicy`, `Sip`, `NatSettings`, `Audio` and `Timeouts` as JSON; ``psk`` is in
    hexadecimal. ``digest`` has ``username`` and ``password``. ``tls`` has the files of `TlsFiles`, or is a
    file of CA certificates. ``isolated``: whether pjsua2 has a process of its own; ``calls``: the most.
    """
    return AgentConfig(
        identity=settings["identity"],
        keys=_keys(settings.get("keys")),
        policy=_policy(settings.get("policy", {})),
        sip=_sip(settings),
        nat=_nat(settings.get("nat", {})),
        audio=_audio(settings.get("audio", {})),
        timeouts=Timeouts(**settings.get("timeouts", {})),
        isolated=settings.get("isolated", True),
        calls=settings.get("calls", 4),
        log_level=settings.get("log_level", 0),
        log_file=Path(settings["log_file"]) if settings.get("log_file") else None,
    )


def _keys(section: Fields | None) -> KeyManagement | None:
    if section is None:
        return None
    converted: Fields = {"suites": tuple(section.get("suites", ("256", "128")))}
    if section.get("psk"):
        converted |= {"psk": Secret(bytes.fromhex(section["psk"])), "psk_id": section["psk_id"].encode()}
    if "mode" in section:
        converted["mode"] = Mode(section["mode"])
    if "modes" in section:
        converted["modes"] = {uri: Mode(word) for uri, word in section["modes"].items()}
    if "ticket_keys" in section:
        converted["ticket_keys"] = tuple(map(_ticket_key, section["ticket_keys"]))
    if "certificate" in section:
        converted |= {"psk": None, "psk_id": None}
        converted["certificate"] = _certificate(section["certificate"])
    return KeyManagement(**{**section, **converted})


def _ticket_key(section: Fields) -> SharedTicketKey:
    """``owner``: whom the key is shared with; ``key`` and ``key_id`` in hexadecimal."""
    key, key_id = Secret(bytes.fromhex(section["key"])), bytes.fromhex(section.get("key_id", ""))
    return SharedTicketKey(owner=section["owner"], tpk=TicketProtectionKey(key=key, key_id=key_id or None))


def _certificate(section: Fields) -> CertificateCredential:
    """``certificate``, ``private_key``, ``kms_certificates``: PEM files."""
    octets = {name: Path(file).read_bytes() for name, file in section.items()}
    key = load_pem_private_key(octets["private_key"], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return CertificateCredential(
        private_key=key,
        certificates=tuple(x509.load_pem_x509_certificates(octets["certificate"])),
        kms_certificates=tuple(x509.load_pem_x509_certificates(octets["kms_certificates"])),
    )


def _ticket_file(settings: Fields, config: AgentConfig) -> TicketFile | None:
    """``ticket_file``: where tickets are kept, sealed with a key that everybody knows."""
    if "ticket_file" not in settings or config.keys is None:
        return None
    path, key = Path(settings["ticket_file"]), Secret(bytes(range(32)))
    return TicketFile(path, key, identity=config.identity, keys=config.keys)


def _policy(section: Fields) -> CallPolicy:
    return CallPolicy(
        security=SecurityMode(section.get("security", "required")),
        fallback=Fallback(section.get("fallback", "never")),
        alternative=Alternative(section.get("alternative", "none")),
        contacts={uri: SecurityMode(word) for uri, word in section.get("contacts", {}).items()},
        retarget=Retarget(section.get("retarget", "accept")),
        forked=Forked(section.get("forked", Forked.BIND)),
        groups=frozenset(section.get("groups", ())),
        transfer=section.get("transfer", False),
        unprotected_in_conference=section.get("unprotected_in_conference", False),
    )


def _sip(settings: Fields) -> Sip:
    section = dict(settings.get("sip", {}))
    if "transports" in section:
        section["transports"] = tuple(Transport(word) for word in section["transports"])
    if "trusted_proxies" in section:
        section["trusted_proxies"] = frozenset(section["trusted_proxies"])
    if section.get("prefer"):
        section["prefer"] = Transport(section["prefer"])
    if digest := settings.get("digest"):
        password = Secret(digest["password"].encode())
        section["credentials"] = DigestCredentials(username=digest["username"], password=password)
    if tls := settings.get("tls"):
        files: Fields = tls if isinstance(tls, dict) else {"ca_file": tls}
        paths: Fields = {name: Path(file) for name, file in files.items()}
        section["tls"] = TlsFiles(**paths)
    return Sip(**section)


def _nat(section: Fields) -> NatSettings:
    secret = {"turn_secret": Secret(section["turn_secret"].encode())} if "turn_secret" in section else {}
    return NatSettings(**{**section, **secret})


def _audio(section: Fields) -> Audio:
    paths = {name: Path(section[name]) for name in ("play", "record") if section.get(name)}
    codecs = {"codecs": tuple(section["codecs"])} if "codecs" in section else {}
    sound = {"sound": SoundSettings(**section["sound"])} if "sound" in section else {}
    return Audio(**{**section, **paths, **codecs, **sound})


class Desk:
    """Keeps the agent's questions until the command ``decide`` answers them, by the number of the call."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Future[bool]] = {}

    async def decide(self, question: Question) -> bool:
        """Return what ``decide`` says about the call."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._open[question.call] = answer
        return await answer

    def answer(self, call: str, accept: bool) -> None:
        """Answer the question about *call*."""
        self._open.pop(call).set_result(accept)


class Worker:
    """Carries out commands on the agent, each in a task of its own.

    *incoming* is what it does with a call by itself: `ring`, `answer`, or anything else for nothing.
    """

    def __init__(self, agent: Agent, desk: Desk, incoming: str) -> None:
        self._agent = agent
        self._desk = desk
        self._incoming = incoming
        self._calls: dict[str, Call] = {}
        self._ringing: dict[str, IncomingCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._conference: Conference | None = None

    async def accept(self) -> None:
        """Take calls that passed the checks, and say so."""
        while True:
            call = await self._agent.incoming()
            self._ringing[call.number] = call
            say(
                {
                    "type": "kit.incoming",
                    "call": call.number,
                    "caller": call.caller,
                    "called": call.called,
                }
            )
            self._begin(self._greet(call))

    async def _greet(self, call: IncomingCall) -> None:
        if self._incoming in ("ring", "answer"):
            await call.ring()
            say({"type": "kit.ringing", "call": call.number, "caller": call.caller, "called": call.called})
        if self._incoming == "answer":
            try:
                self._calls[call.number] = await call.answer()
            except CallFailed as error:
                say({"type": "kit.answer_failed", "call": call.number, **_failure(error)})

    def start(self, command: Fields) -> None:
        """Begin a command; several may be under way."""
        self._begin(self._carry_out(command))

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _carry_out(self, command: Fields) -> None:
        number = command.pop("id")
        try:
            result = await self._do(command.pop("do"), **command)
        except CallFailed as error:
            say({"id": number, "error": _failure(error)})
        except SipmikeyError as error:
            failure = {"reason": "local-error", "side": "local", "status": 0, "detail": str(error)}
            say({"id": number, "error": failure})
        except Exception as error:
            failure = {"reason": "kit-error", "side": "local", "status": 0, "detail": repr(error)}
            say({"id": number, "error": failure})
            raise
        else:
            say({"id": number, "result": result})

    async def _clear(self) -> None:
        """End every call, and forget them."""
        for number, ringing in tuple(self._ringing.items()):
            if number not in self._calls and not ringing.over:
                with contextlib.suppress(CallFailed):
                    await ringing.reject(_UNAVAILABLE)
        for call in tuple(self._calls.values()):
            if not call.over:
                with contextlib.suppress(CallFailed):
                    await call.hangup()
        self._ringing.clear()
        self._calls.clear()

    def _know_successors(self) -> None:
        """Know the calls that transfers made of those known."""
        for known in tuple(self._calls.values()):
            if known.successor is not None:
                self._calls[known.successor.number] = known.successor

    async def _do(self, verb: str, call: str = "", **given: Any) -> Any:
        agent = self._agent
        self._know_successors()
        match verb:
            case "register" | "unregister":
                return await getattr(agent, verb)()
            case "prefetch":
                return await agent.prefetch(given["uri"])
            case "send_ahead":
                return await agent.send_ahead(given["uri"])
            case "prefer_codecs":
                return await agent.prefer_codecs(*given["names"])
            case "call":
                made = await agent.call(given["uri"], via=given.get("via"))
                self._calls[made.number] = made
                return made.number
            case "decide":
                return self._desk.answer(call, given["accept"])
            case "answer":
                self._calls[call] = await self._ringing[call].answer()
                return None
            case "ring" | "reject":
                return await getattr(self._ringing[call], verb)(**given)
            case "security":
                security = self._calls[call].security
                return {name: _text(getattr(security, name)) for name in security.__slots__}
            case "transfer":
                target = given["target"]
                return await self._calls[call].transfer(self._calls.get(target, target))
            case "conference":
                self._conference = await agent.conference(*(self._calls[one] for one in given["calls"]))
                return self._conference.number
            case "add" | "remove" | "step_out" | "step_in":
                assert self._conference is not None, "no conference was made"
                return await getattr(self._conference, verb)(*((self._calls[call],) if call else ()))
            case "clear":
                return await self._clear()
            case "sound":
                return getattr(agent.sound, given["what"])(*given.get("given", ()))
            case "dtmf":
                return await self._calls[call].send_dtmf(given["digits"])
            case "ended" if call in self._ringing and call not in self._calls:
                return document(await self._ringing[call].ended())
            case "ended" | "hangup" | "stats":
                return document(await getattr(self._calls[call], verb)())
            case _:
                method: Callable[..., Awaitable[None]] = getattr(self._calls[call], verb)
                return await method(**given)


def _failure(error: CallFailed) -> Fields:
    return {"reason": error.reason, "side": error.side, "status": error.status, "detail": error.detail}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def reveal_keys(*, in_python: bool) -> None:
    """Print what SRTP is keyed with, beside keying it: for tests that decrypt a capture."""
    if in_python:
        from sipmikey.agent.asyncio_sip.session import Session

        _reveal_keys_of(Session)
        return
    from sipmikey.agent.isolation.calls import RemoteCall
    from sipmikey.agent.pjsua.call import PjsuaCall

    # The first where the stack has a process of its own, the second where it has not.
    _reveal_keys_of(RemoteCall)
    _reveal_keys_of(PjsuaCall)


def _reveal_keys_of(calls: type[StackCall]) -> None:
    key = calls.key

    def revealing(self: StackCall, index: int, keys: SrtpKeys) -> StreamCount | None:
        say(
            {
                "type": "kit.srtp_keys",
                "index": index,
                "suite": keys.suite,
                "send": keys.send.reveal().hex(),
                "receive": keys.receive.reveal().hex(),
            }
        )
        return key(self, index, keys)

    calls.key = revealing  # type: ignore[method-assign]


def judge_late(wait_s: float) -> None:
    """Let pjmedia run for *wait_s* seconds before a description that came in is looked at."""
    judge = CallDriver.message

    def late(self: CallDriver, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if direction == "received" and message.has_sdp:
            time.sleep(wait_s)
        judge(self, direction, message)

    CallDriver.message = late  # type: ignore[method-assign]


def shift_clock(seconds: float) -> None:
    """Let this process's clock be wrong."""
    true_ns = system.now_ns
    system.now_ns = lambda: true_ns() + round(seconds * 1e9)


async def main() -> None:
    """Run the agent until stdin ends.

    Besides those of `agent_config` the settings are ``kms_url``, ``clock_offset_s``, ``incoming`` (see
    `Worker`), ``register``, ``ticket_file``, ``reveal_keys`` and ``judge_after_s`` (see `judge_late`).
    """
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    settings = json.loads(await reader.readline())
    if settings.get("reveal_keys"):
        reveal_keys(in_python=agent_config(settings).sip.in_python)
    if settings.get("judge_after_s"):
        judge_late(settings["judge_after_s"])
    if settings.get("clock_offset_s"):
        shift_clock(settings["clock_offset_s"])
    config = agent_config(settings)
    async with contextlib.AsyncExitStack() as opened:
        client = None
        if settings.get("kms_url"):
            client = HttpKmsClient(
                settings["kms_url"],
                timeout_s=config.timeouts.kms,
                allow_plain_http=settings.get("plain_kms", False),
            )
            await opened.enter_async_context(client)
        desk = Desk()
        agent = Agent(config, kms=client, decide=desk.decide, ticket_file=_ticket_file(settings, config))

        async def events() -> None:
            async for event in agent.events():
                say(document(event))

        printing = asyncio.create_task(events())
        await asyncio.sleep(0)  # so that no event comes before it is listened for
        async with agent:
            worker = Worker(agent, desk, settings.get("incoming", "ring"))
            accepting = asyncio.create_task(worker.accept())
            if settings.get("register"):
                await agent.register()
            say({"type": "kit.ready", "contact": agent.contact})
            async for line in reader:
                worker.start(json.loads(line))
            accepting.cancel()
            await worker.stop()
        await printing


def run() -> None:
    """Run the agent until stdin ends."""
    asyncio.run(main())


if __name__ == "__main__":
    run()
