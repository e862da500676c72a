"""The sound devices that a SIP stack has, and what they tell."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sipmikey.sound.commands import Command
from sipmikey.sound.settings import News

if TYPE_CHECKING:
    from sipmikey.sound.device_room import DeviceRoom


class AgentDevices:
    """``devices``: the room where the user and the calls meet; None where there are no devices.

    What makes the room has it tell `heard_news`, from any thread.
    """

    def __init__(self) -> None:
        self.devices: DeviceRoom | None = None
        self._news: deque[News] = deque()

    def heard_news(self, news: News) -> None:
        """Keep what the devices tell until `take_news`."""
        self._news.append(news)

    def take_news(self) -> Iterator[News]:
        """Yield the news of the devices since the last call."""
        while self._news:
            yield self._news.popleft()

    def obey(self, command: Command) -> None:
        """Carry out *command* on the devices; without devices do nothing."""
        if self.devices is not None:
            self.devices.obey(command)

    def close(self) -> None:
        """Give the devices back."""
        if self.devices is not None:
            self.devices.close()
            self.devices = None
