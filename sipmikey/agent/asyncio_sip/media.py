"""The media of this stack's calls: `sipmikey.media`, as the other stack uses it for calls in Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sipmikey.agent.config import ANY_ADDRESS, AgentConfig
from sipmikey.agent.python_media.engine import CallMedia, PythonMedia


class _NoDevices:
    """There are no sound devices: files are played and recorded."""

    devices = None


class Media:
    """The media of all calls. *address*: of ours, that descriptions name."""

    def __init__(self, config: AgentConfig, address: str) -> None:
        self.address = address
        bind = config.sip.bind if config.sip.bind not in ANY_ADDRESS else address
        here = replace(config, sip=replace(config.sip, bind=bind, public_address=address))
        self._engine = PythonMedia(here, _NoDevices())

    def call(self, on_digit: Callable[[str], None]) -> CallMedia:
        """Return the media of a new call; *on_digit* is told keys that the peer presses."""
        return self._engine.call(on_digit)

    def take_played(self) -> bool:
        """Tell digits; return whether a file was played to its end since this was asked last."""
        self._engine.tell_digits()
        return self._engine.take_played()

    def close(self) -> None:
        """End every stream with an RTCP BYE."""
        self._engine.close()
