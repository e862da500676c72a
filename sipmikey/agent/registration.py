"""Waiting for the registrar, and reporting its answers. In the event loop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from sipmikey.agent.call import CallFailed
from sipmikey.call.events import Event, Registered, RegistrationFailed
from sipmikey.call.reasons import Reason, Side
from sipmikey.mikey.errors import SipmikeyError


class RegistrationError(CallFailed):
    """The registrar refused or could not be reached."""


class Registration:
    """The registration of one *identity*; it is renewed by the stack, and every outcome is published.

    *registrar*: its SIP URI; *wait_s*: how long its answer may take.
    """

    def __init__(
        self, *, identity: str, registrar: str, wait_s: float, publish: Callable[[Event], None]
    ) -> None:
        self._identity = identity
        self._registrar = registrar
        self._wait_s = wait_s
        self._publish = publish
        self._waiting: asyncio.Future[None] | None = None
        self.registered = False

    async def until_answered(self, start: Callable[[], Awaitable[None]]) -> None:
        """Have *start* send the request; return when it is granted. Raises ``RegistrationError``."""
        self._waiting = waiting = asyncio.get_running_loop().create_future()
        try:
            await start()
            async with asyncio.timeout(self._wait_s):
                await waiting
        except TimeoutError:
            self._waiting = None
            detail = f"no answer of the registrar in {self._wait_s:g} s"
            raise self._failed(Reason.REGISTRATION_FAILED, 408, detail) from None
        except SipmikeyError as error:
            if isinstance(error, RegistrationError):
                raise
            raise self._failed(Reason.REGISTRATION_FAILED, 0, str(error)) from None

    def result(self, status: int, reason: str, expires_s: int) -> None:
        """Take the outcome of a request, ours or the stack's renewal."""
        waiting, self._waiting = self._waiting, None
        self.registered = status // 100 == 2 and expires_s > 0
        if status // 100 == 2:
            self._publish(
                Registered(
                    at=time.time(), identity=self._identity, registrar=self._registrar, expires_s=expires_s
                )
            )
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
            return
        word = Reason.UNAUTHORIZED if status in (401, 403, 407) else Reason.REGISTRATION_FAILED
        if status in (401, 407):
            reason = f"{reason}: the user name or password is wrong, or none is set (credentials)"
        error = self._failed(word, status, reason)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def _failed(self, word: Reason, status: int, detail: str) -> RegistrationError:
        side: Side = "network" if status in (0, 408, 502, 503) else "remote"
        self._publish(
            RegistrationFailed(
                at=time.time(), identity=self._identity, registrar=self._registrar,
                status=status, reason=word, side=side, detail=detail,
            )
        )  # fmt: skip
        return RegistrationError(word, side, status, detail)
