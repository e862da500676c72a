"""Carries out what the test commands the agent to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sipmikey.agent import Agent, Call, CallFailed, Conference, IncomingCall, Question, document
from sipmikey.call.reasons import AgentError, side_of
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.testing.agent_process.lines import Fields, say

if TYPE_CHECKING:
    from sipmikey.testing.agent_process.group_seat import GroupSeat
    from sipmikey.testing.agent_process.messages import Messages

_UNAVAILABLE = 480


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

    *incoming* is what it does with a call by itself: `ring`, `answer`, or anything else to do nothing. *kms*
    carries what messages need of the KMS.
    """

    def __init__(self, agent: Agent, desk: Desk, incoming: str, kms: HttpKmsClient | None = None) -> None:
        self._agent = agent
        self._desk = desk
        self._incoming = incoming
        self._kms = kms
        self._seat: GroupSeat | None = None
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
        if self._seat is not None:
            self._seat.close()

    async def _carry_out(self, command: Fields) -> None:
        number = command.pop("id")
        try:
            result = await self._do(command.pop("do"), **command)
        except CallFailed as error:
            say({"id": number, "error": _failure(error)})
        except SipmikeyError as error:
            say({"id": number, "error": _failure_of(error)})
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
        if self._seat is not None:
            self._seat.close()

    def _messages(self) -> Messages:
        from sipmikey.testing.agent_process.messages import Messages

        return Messages(self._agent, self._kms)

    def _group_seat(self) -> GroupSeat:
        from sipmikey.testing.agent_process.group_seat import GroupSeat

        self._seat = self._seat or GroupSeat(self._agent)
        return self._seat

    def _know_successors(self) -> None:
        """Note the calls that transfers made of known ones."""
        for known in tuple(self._calls.values()):
            if known.successor is not None:
                self._calls[known.successor.number] = known.successor

    async def _do(self, verb: str, call: str = "", **given: Any) -> Any:
        agent = self._agent
        self._know_successors()
        match verb:
            case "register" | "unregister":
                return await getattr(agent, verb)()
            case "watch" | "unwatch":
                return await getattr(agent, verb)(given["uri"])
            case "publish_presence":
                return await agent.publish_presence(**given)
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
            case "leave_message" | "hear_message":
                return await getattr(self._messages(), verb.partition("_")[0])(**given)
            case "group":
                return await self._group_seat().do(given.pop("what"), **given)
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


def _failure_of(error: SipmikeyError) -> Fields:
    """Return how something other than a call failed."""
    told = {"reason": "local-error", "side": "local", "status": 0, "detail": str(error)}
    if isinstance(error, AgentError):
        return {**told, "reason": error.reason, "side": error.side, "status": error.sip_status}
    if isinstance(error, PeerError):
        return {**told, "reason": error.reason, "side": side_of(error)}
    return told


def _text(value: object) -> str | None:
    return None if value is None else str(value)
