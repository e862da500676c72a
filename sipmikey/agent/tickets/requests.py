"""Questions of calls in the engine's thread, asked in the event loop: to the KMS, DNS and the user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sipmikey.agent.engine import Engine
from sipmikey.agent.network.location import Locator
from sipmikey.agent.tickets.kms import KmsDesk, NoKmsAnswer
from sipmikey.agent.tickets.store import first_granted
from sipmikey.call.inputs import Decided, Input, KmsAnswered, KmsFailed, TicketGranted, TicketRefused
from sipmikey.call.inviting.consent import Decide, Question
from sipmikey.call.outputs import AskKms, AskTicket, AskUser
from sipmikey.call.reasons import AgentError
from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.ticket.request import TicketGrant

_log = logging.getLogger("sipmikey.agent.tickets.requests")

Told = Callable[[Input], object]
"""Takes the outcome, in the engine's thread."""

_ENGINE_WAITS_S = 2.0
"""How long the engine may stand still for the KMS, where the stack cannot wait for it."""


class Requests:
    """The ``ask`` methods are called in the engine's thread, and tell the outcome there.

    *ticket* gets a ticket for an identity, for the call of a number. *kms_timeout_s*: of the KMS.
    *decide* asks the user, for at most *decision_s*; None where policy never asks the user. *locator*
    asks DNS.
    """

    def __init__(
        self,
        engine: Engine,
        kms: KmsDesk,
        *,
        kms_timeout_s: float,
        ticket: Callable[[str, str], Awaitable[TicketGrant]],
        decide: Decide | None,
        decision_s: float,
        locator: Locator,
    ) -> None:
        self._engine = engine
        self._locator = locator
        self._kms = kms
        self._longest_s = min(kms_timeout_s, _ENGINE_WAITS_S)
        self._ticket = ticket
        self._decide = decide
        self._decision_s = decision_s
        self._questions: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """In the event loop, before the first question: use this loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """In the event loop: drop what is under way."""
        for task in self._tasks:
            task.cancel()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """In the event loop: run *work* as a task."""
        self._start(work)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call_ended(self, number: str) -> None:
        """In the event loop: withdraw the questions to the user about that call."""
        if (question := self._questions.pop(number, None)) is not None:
            question.cancel()

    def ask_user(self, asked: AskUser, told: Told) -> None:
        """Have the user decide; no decision in time is a refusal."""

        async def ask() -> None:
            refusal = await self._refusal(asked.question)
            self._engine.post(lambda: told(Decided(refusal=refusal)))

        def begin() -> None:
            self._questions[asked.question.call] = self._start(ask())

        self._engine.hand_out(begin)

    async def _refusal(self, question: Question) -> str:
        assert self._decide is not None
        try:
            accepted = await asyncio.wait_for(self._decide(question), self._decision_s)
        except TimeoutError:
            return f"the user did not decide within {self._decision_s:g} s"
        except SipmikeyError as error:
            return str(error)
        except Exception:  # noqa: BLE001 - the application's own error: it is a refusal
            _log.exception("the user could not be asked")
            return "the user could not be asked"
        return "" if accepted else "the user refused"

    def ask_ticket(self, number: str, asked: AskTicket, told: Told) -> None:
        """Get a ticket for the first of the identities for which the KMS does not refuse one."""

        async def get(called: str) -> TicketGrant:
            return await self._ticket(called, number)

        async def ask() -> None:
            outcome: Input
            try:
                called, grant = await first_granted(asked.identities, get)
                outcome = TicketGranted(called=called, grant=grant)
            except Exception as error:  # noqa: BLE001 - it becomes the call's ending
                outcome = TicketRefused(error=error)
            self._engine.post(lambda: told(outcome))

        self._engine.hand_out(lambda: self.run(ask()))

    def locates(self, uri: str) -> bool:
        """Return whether DNS has to be asked about *uri* (see ``locate``)."""
        return self._locator.asks_about(uri)

    def locate(self, uri: str, told: Callable[[str | BaseException], object]) -> None:
        """Have DNS asked for the transport of the domain of *uri*; tell the URI that names it, or why not."""

        async def ask() -> None:
            outcome: str | BaseException
            try:
                outcome = await self._locator.located(uri)
            except Exception as error:  # noqa: BLE001 - it becomes the call's ending
                outcome = error
            self._engine.post(lambda: told(outcome))

        self._engine.hand_out(lambda: self.run(ask()))

    def ask_kms(self, number: str, asked: AskKms, told: Told, *, wait: bool = False) -> None:
        """Carry the message to the KMS. *wait*: the engine does nothing else until the outcome is told."""
        asking = self._kms.ask(number, asked.exchange, asked.message, asked.kms)
        if wait:
            told(self._asked_now(asking))
            return

        async def ask() -> None:
            outcome: Input
            try:
                response, elapsed_ms = await asking
                outcome = KmsAnswered(response=response, elapsed_ms=elapsed_ms)
            except (PeerError, AgentError) as error:
                outcome = KmsFailed(error=error)
            self._engine.post(lambda: told(outcome))

        self._engine.hand_out(lambda: self.run(ask()))

    def _asked_now(self, asking: Coroutine[Any, Any, tuple[bytes, float]]) -> Input:
        loop = self._loop
        assert loop is not None
        try:
            response, elapsed_ms = self._engine.wait(
                lambda: asyncio.run_coroutine_threadsafe(asking, loop), self._longest_s
            )
        except TimeoutError:
            return KmsFailed(error=NoKmsAnswer(self._longest_s))
        except (PeerError, AgentError) as error:
            return KmsFailed(error=error)
        return KmsAnswered(response=response, elapsed_ms=elapsed_ms)
