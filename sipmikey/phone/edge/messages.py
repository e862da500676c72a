"""The commands about messages: those in our box, and those that are left for others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.phone.edge.box import Box, Facts, MessageFailed, Outbox

Given = Mapping[str, Any]


class Messages:
    """Carries them out with *box* and *outbox*, where there are such; *tell* says what happens.

    *chosen* has the names of the sound devices that were chosen, by role.
    """

    def __init__(
        self, box: Box | None, outbox: Outbox | None, *, tell: Callable[..., None], chosen: Mapping[str, str]
    ) -> None:
        self._box = box
        self._outbox = outbox
        self._tell = tell
        self._chosen = chosen
        self.verbs: Mapping[str, Callable[[Given], Awaitable[Facts | None]]] = {
            "messages": lambda given: self._look(),
            "play-message": lambda given: self._play(given["message"]),
            "stop-message": self._stop_playing,
            "delete-message": lambda given: self._delete(given["message"]),
            "leave-message": self._leave,
            "send-message": self._send,
            "drop-message": self._drop,
        }

    @property
    def has_box(self) -> bool:
        """True where messages may be left for us."""
        return self._box is not None

    @property
    def features(self) -> tuple[str, ...]:
        """What an agent without mailboxes cannot do."""
        return () if self._outbox is None else ("leave-message",)

    def drop(self) -> None:
        """Throw away what is recorded now, if anything is."""
        if self._outbox is not None:
            self._outbox.drop()

    def stop(self) -> None:
        """Stop what plays, and throw away what is recorded."""
        if self._box is not None:
            self._box.stop()
        self.drop()

    # Ours

    @property
    def _ours(self) -> Box:
        if self._box is None:
            raise LocalError("no mailbox is configured: set mailbox.url and mailbox.token_file")
        return self._box

    async def _play(self, name: str) -> Facts:
        def begins(facts: Facts) -> None:
            self._tell("message.playing", message=name, **facts)

        output = self._chosen.get("output", "")
        try:
            played = await self._ours.play(name, output=output, begins=begins)
        except SipmikeyError as error:
            self._tell("message.refused", message=name, reason=_reason(error), detail=str(error))
            raise
        self._tell("message.played", message=name, **played)
        await self._look()
        return {"message": name, "stopped": played["stopped"]}

    async def _stop_playing(self, given: Given) -> None:
        self._ours.stop()

    async def _delete(self, name: str) -> Facts:
        await self._ours.delete(name)
        await self._look()
        return {"message": name}

    async def _look(self) -> Facts:
        messages = await self._ours.listed()
        self._tell("messages.listed", messages=messages)
        return {"new": sum(not message["heard"] for message in messages)}

    # For others

    @property
    def _out(self) -> Outbox:
        if self._outbox is None:
            raise LocalError("no mailbox is configured: set mailbox.url or mailbox.domains")
        return self._outbox

    async def _leave(self, given: Given) -> Facts:
        uri, file = given["uri"], given["file"]

        def tell(facts: Facts) -> None:
            self._tell(facts.pop("type"), to=uri, **facts)

        if self._out.recording:
            raise LocalError("a message is recorded already: send-message or drop-message")
        device = self._chosen.get("input", "")
        try:
            left = await self._out.leave(uri, file=file and Path(file), device=device, tell=tell)
        except SipmikeyError as error:
            self._tell("message.unsent", to=uri, reason=_reason(error), detail=str(error))
            raise
        if left["sent"]:
            self._tell("message.sent", **{key: value for key, value in left.items() if key != "sent"})
        else:
            self._tell("message.dropped", to=uri)
        return left

    async def _send(self, given: Given) -> None:
        if not self._out.send():
            raise LocalError("no message is recorded")

    async def _drop(self, given: Given) -> None:
        if not self._out.drop():
            raise LocalError("no message is recorded")


def _reason(error: SipmikeyError) -> str:
    return error.reason if isinstance(error, MessageFailed) else "usage"
