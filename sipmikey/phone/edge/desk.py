"""Carries out commands on an agent: several calls at a time, one of them talked to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeAlias

from sipmikey.agent import Agent, Call, CallFailed, IncomingCall, Question
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.phone.edge.box import Box, MessageFailed, Outbox
from sipmikey.phone.edge.conferring import Conferring
from sipmikey.phone.edge.messages import Messages
from sipmikey.phone.protocol import PROTOCOL, VERBS, BadCommand, Command, read_command

Fields: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[Fields], None]

DO_NOT_DISTURB_STATUS = 480
BUSY_STATUS = 486

HANGUP_S = 3.0
"""How long the other sides have to hear that we leave."""


class Desk:
    """The calls of one agent, and the commands on them.

    *say* is given documents of the desk's own: outcomes of commands, calls that ring, what was decided.
    Give ``decide`` to the agent, and ``use`` the agent, before it is opened. *box* is ours at the mailbox,
    *outbox* what leaves messages for others, where there are such.
    """

    def __init__(self, say: Say, *, box: Box | None = None, outbox: Outbox | None = None) -> None:
        self.quitting = asyncio.Event()
        self.do_not_disturb = False
        self._say = say
        self._agent: Agent | None = None
        self._calls: dict[str, Call] = {}
        self._ringing: dict[str, IncomingCall] = {}
        self._talking: set[str] = set()
        self._held: set[str] = set()
        self._conference = Conferring(
            lambda: self.agent, hold=self._hold, resume=self._resume, held=self._held
        )
        self._questions: dict[str, asyncio.Future[bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sound: Fields = {"muted": False, "input_db": 0.0, "output_db": 0.0}
        self._chosen: dict[str, str] = {}
        self._messages = Messages(box, outbox, tell=self._tell, chosen=self._chosen)

    def use(self, agent: Agent) -> None:
        """Work with *agent* from now on."""
        self._agent = agent

    @property
    def agent(self) -> Agent:
        """The agent whose calls these are."""
        if self._agent is None:
            raise LocalError("the agent is not there yet")
        return self._agent

    @property
    def calls(self) -> tuple[str, ...]:
        """Numbers of the calls that are made or answered."""
        return tuple(self._calls)

    @property
    def features(self) -> tuple[str, ...]:
        """What this agent can do that another may not: without sound devices there is nothing to mute."""
        devices = ("mute", "volume", "devices") if self.agent.config.audio.device != "null" else ()
        return (*devices, "conference", *self._messages.features)

    def hello(self) -> None:
        """Say which commands there are."""
        self._tell("agent.hello", protocol=PROTOCOL, commands=list(VERBS))

    async def accept(self) -> None:
        """Let calls ring until cancelled."""
        while True:
            incoming = await self.agent.incoming()
            self._run(self._ring(incoming))

    async def _ring(self, incoming: IncomingCall) -> None:
        number = incoming.number
        with suppress(CallFailed):
            if self.do_not_disturb:
                self._tell("call.declining", number, by="do-not-disturb")
                await incoming.reject(DO_NOT_DISTURB_STATUS)
                return
            self._ringing[number] = incoming
            try:
                await incoming.ring()
                facts = asdict(incoming.security)
                self._tell(
                    "call.rings", number, caller=incoming.caller, called=incoming.called, security=facts
                )
                await incoming.ended()
            finally:
                self._ringing.pop(number, None)

    def take(self, line: str) -> None:
        """Begin the command on *line*; its outcome is said. Several may be under way."""
        try:
            command = read_command(line)
        except BadCommand as error:
            self._failed(error.identifier, "usage", "local", 0, str(error))
            return
        self._run(self._carry_out(command))

    async def _carry_out(self, command: Command) -> None:
        try:
            result = await self.do(command.do, command.values)
        except CallFailed as error:
            self._failed(command.identifier, error.reason, error.side, error.status, error.detail)
        except MessageFailed as error:
            self._failed(command.identifier, error.reason, error.side, 0, str(error))
        except SipmikeyError as error:
            self._failed(command.identifier, "usage", "local", 0, str(error))
        else:
            self._tell("command.done", id=command.identifier, do=command.do, **result)

    async def do(self, verb: str, values: Mapping[str, Any]) -> Fields:
        """Carry out *verb* and return its result. Raises ``CallFailed`` and ``LocalError``."""
        verbs: dict[str, Callable[[Mapping[str, Any]], Awaitable[Fields | None]]] = {
            "call": self._dial,
            "answer": self._answer,
            "decline": lambda given: self._refuse(given["call"], given["status"]),
            "busy": lambda given: self._refuse(given["call"], BUSY_STATUS),
            "hangup": lambda given: self._hangup(given["call"]),
            "hold": lambda given: self._hold(given["call"]),
            "resume": lambda given: self._resume(given["call"]),
            "swap": self._swap,
            "digits": lambda given: self._call(given["call"]).send_dtmf(given["digits"]),
            "transfer": lambda given: self._call(given["call"]).transfer(given["uri"]),
            "transfer-to": lambda given: self._call(given["call"]).transfer(self._call(given["other"])),
            "conference": self._confer,
            "split": lambda given: self._conference.split(self._call(given["call"])),
            "step-out": lambda given: self._step(given["call"], present=False),
            "step-in": lambda given: self._step(given["call"], present=True),
            "end-conference": lambda given: self._conference.end(given["call"]),
            "rekey": lambda given: self._call(given["call"]).rekey(),
            "decide": self._decide,
            "mute": self._mute,
            "volume": self._volume,
            "devices": self._devices,
            "device": self._device,
            "do-not-disturb": self._disturb,
            "register": lambda given: self.agent.register(),
            "unregister": lambda given: self.agent.unregister(),
            "watch": lambda given: self.agent.watch(given["uri"]),
            "unwatch": lambda given: self.agent.unwatch(given["uri"]),
            "publish-presence": self._publish_presence,
            "prefetch": lambda given: self.agent.prefetch(given["uri"]),
            "send-ahead": self._send_ahead,
            **self._messages.verbs,
            "stats": self._stats,
            "quit": self._quit,
        }
        result = await verbs[verb](values)
        return {} if result is None else result

    # Commands

    async def _dial(self, given: Mapping[str, Any]) -> Fields:
        await self._hold_others()
        call = await self.agent.call(given["uri"], via=given.get("via"))
        self.keep(call)
        return {"call": call.number}

    async def _answer(self, given: Mapping[str, Any]) -> Fields:
        number = given["call"]
        incoming = self._ringing.get(number)
        if incoming is None:
            raise LocalError(f"call {number} does not wait for an answer")
        await self._hold_others(number)
        self._tell("call.answering", number)
        self._ringing.pop(number, None)
        call = await incoming.answer()
        self.keep(call)
        return {"call": number}

    async def _refuse(self, number: str, status: int) -> Fields:
        incoming = self._ringing.get(number)
        if incoming is None:
            raise LocalError(f"call {number} does not wait for an answer")
        self._tell("call.declining", number, by="user")
        await incoming.reject(status)
        return {"call": number}

    async def _hangup(self, number: str) -> Fields:
        if number in self._ringing:
            return await self._refuse(number, 603)
        await self._call(number).hangup()
        return {"call": number}

    async def _hold(self, number: str) -> None:
        await self._call(number).hold()
        self._held.add(number)

    async def _resume(self, number: str) -> None:
        await self._call(number).resume()
        self._held.discard(number)

    async def _swap(self, given: Mapping[str, Any]) -> None:
        self._call(given["call"])
        await self._hold_others(given["call"])
        if given["call"] in self._conference.legs:
            await self._conference.step_in()
        if given["call"] in self._held:
            await self._resume(given["call"])

    async def _confer(self, given: Mapping[str, Any]) -> None:
        calls = [self._call(given["call"]), self._call(given["other"])]
        if any(call.number not in self._talking for call in calls):
            raise LocalError("both calls have to be answered")
        if self._conference.legs and not {call.number for call in calls} & set(self._conference.legs):
            raise LocalError("there is a conference already: name one of its calls")
        await self._hold_others(*(call.number for call in calls))
        await self._conference.join(*calls)

    async def _step(self, number: str, *, present: bool) -> None:
        self._conference.check(number)
        if present:
            await self._hold_others(number)
            await self._conference.step_in()
        else:
            await self._conference.step_out()

    async def _hold_others(self, *numbers: str) -> None:
        """Put every call on hold that is talked to, but *numbers*: nobody listens to another's call.

        A message that is recorded is thrown away: the microphone is for the call. Where none of *numbers* is
        in the conference, the user steps out of that, and the others go on. Raises ``CallFailed`` when one
        cannot be put on hold.
        """
        self._messages.drop()
        legs = set(self._conference.legs)
        if not legs & set(numbers):
            await self._conference.step_out()
        for other in sorted(self._talking - self._held - legs - set(numbers)):
            try:
                await self._hold(other)
            except CallFailed:
                if other in self._talking:
                    raise

    async def _decide(self, given: Mapping[str, Any]) -> None:
        question = self._questions.get(given["call"])
        if question is None or question.done():
            raise LocalError(f"call {given['call']}: nothing is to be decided")
        question.set_result(given["accept"])

    async def decide(self, question: Question) -> bool:
        """Wait for the command `decide` on *question*; the agent's ``decide``."""
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._questions[question.call] = waiting
        accepted = False
        try:
            accepted = await waiting
        finally:
            del self._questions[question.call]
            self._tell("policy.decided", question.call, accepted=accepted)
        return accepted

    async def _disturb(self, given: Mapping[str, Any]) -> None:
        self.do_not_disturb = given["on"]
        self._tell("agent.do-not-disturb", on=self.do_not_disturb)

    async def _mute(self, given: Mapping[str, Any]) -> None:
        self.agent.sound.mute(given["on"])
        self._sound["muted"] = given["on"]
        self._tell("agent.sound", **self._sound)

    async def _volume(self, given: Mapping[str, Any]) -> None:
        self.agent.sound.volume(given["role"], given["db"])
        self._sound[f"{given['role']}_db"] = given["db"]
        self._tell("agent.sound", **self._sound)

    async def _devices(self, given: Mapping[str, Any]) -> None:
        found = await asyncio.to_thread(_sound_devices)
        chosen = {(role, name) for role, name in self._chosen.items() if name}
        devices = [{"name": name, "kind": kind, "chosen": (kind, name) in chosen} for kind, name in found]
        self._tell("agent.devices", devices=devices)

    async def _device(self, given: Mapping[str, Any]) -> None:
        self.agent.sound.select(given["role"], given["name"])
        self._chosen[given["role"]] = given["name"]
        if "devices" in self.features:
            await self._devices({})

    async def _stats(self, given: Mapping[str, Any]) -> Fields:
        stats = await self._call(given["call"]).stats()
        return {"call": given["call"], "streams": [asdict(stream) for stream in stats.streams]}

    async def _publish_presence(self, given: Mapping[str, Any]) -> None:
        await self.agent.publish_presence(reachable=given["reachable"], note=given["note"])

    async def _send_ahead(self, given: Mapping[str, Any]) -> Fields:
        return {"peer": await self.agent.send_ahead(given["uri"])}

    def look_into_box(self) -> None:
        """Have our box looked into, if there is one; what comes of it is said."""
        if self._messages.has_box:
            self._run(self._carry_out(Command(do="messages", values={})))

    async def _quit(self, given: Mapping[str, Any]) -> None:
        self.quitting.set()

    # The end

    async def close(self) -> None:
        """End all calls, so that nobody is left in one with us, and remove the registration."""
        self._messages.stop()
        for task in tuple(self._tasks):
            task.cancel()
        leaving = [incoming.reject(DO_NOT_DISTURB_STATUS) for incoming in self._ringing.values()]
        leaving += [_ended(call) for call in self._calls.values()]
        if self.agent.config.sip.registrar:
            leaving.append(self.agent.unregister())
        tasks = [asyncio.ensure_future(one) for one in leaving]
        if tasks:
            await asyncio.wait(tasks, timeout=HANGUP_S)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, SipmikeyError):
                await task

    # Own

    def _call(self, number: str) -> Call:
        call = self._calls.get(number)
        for one in self._calls.values():
            # What a transfer makes of a call is there before that call is over.
            if call is None and (made := one.successor) is not None and made.number == number:
                call = made
        if call is None:
            waiting = "; it waits for an answer" if number in self._ringing else ""
            raise LocalError(f"there is not a call {number}{waiting}")
        return call

    def keep(self, call: Call) -> None:
        """Take *call*, which was made or answered, among those that commands are for."""
        self._calls[call.number] = call
        self._run(self._until_over(call))

    async def _until_over(self, call: Call) -> None:
        with suppress(CallFailed):
            await call.established()
            self._talking.add(call.number)
        await call.ended()
        self._calls.pop(call.number, None)
        self._talking.discard(call.number)
        self._held.discard(call.number)
        await self._conference.settle()
        if (successor := call.successor) is not None:
            self.keep(successor)

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _failed(self, identifier: object, reason: str, side: str, status: int, detail: str) -> None:
        self._tell("command.failed", id=identifier, reason=reason, side=side, status=status, detail=detail)

    def _tell(self, kind: str, call: str = "", **fields: Any) -> None:
        self._say({"type": kind, "at": time.time(), "call": call, **fields})


def _sound_devices() -> list[tuple[str, str]]:
    """Return (kind, name) of the sound devices there are. Raises ``LocalError`` where there are none."""
    try:
        from sipmikey.sound.devices import Devices
    except ImportError as error:
        raise LocalError(f"sound needs {error.name}: pip install 'sipmikey[sound]'") from None
    return [(str(device.direction), device.name) for device in Devices().all() if not device.monitor]


async def _ended(call: Call) -> None:
    await call.hangup()
