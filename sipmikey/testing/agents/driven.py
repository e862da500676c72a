"""What the verbs of an agent under test stand on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from sipmikey.testing.agent_driver import WAIT_S, AgentProcess, Fields
from sipmikey.testing.agents.settings import AgentSettings


class Driven(ABC):
    """An agent that is driven. ``folder``: where its files are."""

    name: str
    folder: Path
    settings: AgentSettings

    @property
    @abstractmethod
    def identity(self) -> str:
        """The agent's SIP URI."""

    @property
    @abstractmethod
    def process(self) -> AgentProcess:
        """The agent's process."""

    @abstractmethod
    def do(self, verb: str, *, timeout_s: float = WAIT_S, **given: Any) -> Any:
        """Carry out a command of the agent's process."""

    @abstractmethod
    def wait_for(
        self, kind: str, *, timeout_s: float = WAIT_S, call: str | None = None, **values: Any
    ) -> Fields:
        """Wait for an event."""
