"""The media of this stack's calls: `sipmikey.media`, as the other stack uses it for calls in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sipmikey.agent.asyncio_sip.media.ice import ice_ways
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.python_media.devices import PythonDevices
from sipmikey.agent.python_media.engine import CallMedia, PythonMedia
from sipmikey.agent.stack import HelpingServers, StackKeys
from sipmikey.sound.commands import Command
from sipmikey.sound.settings import News


class Media:
    """The media of all calls. *address*: of ours, that descriptions name. ``stack_keys``: which may go into
    descriptions, None for none.

    ``shares_port``: RTCP may go on the port of RTP (RFC 5761). Raises ``StackError`` where ICE is wanted and
    the package for it is missing.
    """

    def __init__(self, config: AgentConfig, address: str, keys: StackKeys | None = None) -> None:
        self._ways = ice_ways(config) if config.nat.uses_ice else None
        self.shares_port = config.nat.rtcp_mux
        self.stack_keys = keys
        # A socket of all addresses stays in use when one of them changes.
        bind = config.sip.bind or "0.0.0.0"
        here = replace(config, sip=replace(config.sip, bind=bind, public_address=address))
        self._devices = PythonDevices(config.audio)
        self._engine = PythonMedia(here, self._devices)
        if self._ways is not None:
            self._engine.use_ways(self._ways)

    @property
    def address(self) -> str:
        """Our address in descriptions."""
        return self._engine.address

    def move(self, address: str) -> None:
        """Name another address of ours in descriptions from now on."""
        self._engine.address = address

    def use_servers(self, servers: HelpingServers) -> None:
        """Use these STUN and TURN servers for streams that begin. Raises ``LocalError`` for a wrong one."""
        if self._ways is not None:
            self._ways.use(servers)

    def call(self, on_digit: Callable[[str], None]) -> CallMedia:
        """Return the media of a new call; *on_digit* is told keys that the peer presses."""
        return self._engine.call(on_digit)

    def take_played(self) -> bool:
        """Tell digits; return whether a file was played to its end since this was asked last."""
        self._engine.tell_digits()
        return self._engine.take_played()

    def obey(self, command: Command) -> None:
        """Do what *command* says to the sound devices."""
        self._devices.obey(command)

    def take_news(self) -> Iterator[News]:
        """Yield what the sound devices told since this was asked last."""
        return self._devices.take_news()

    def close(self) -> None:
        """End every stream with an RTCP BYE, and give the sound devices back."""
        self._engine.close()
        if self._ways is not None:
            self._ways.close()
        self._devices.close()
