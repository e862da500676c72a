"""Agents under test: each lives in a process and is driven with the verbs of a call tester."""

from sipmikey.testing.agents.agent import TestAgent
from sipmikey.testing.agents.group_verbs import TestGroup
from sipmikey.testing.agents.pool import AgentPool
from sipmikey.testing.agents.settings import AgentSettings

__all__ = ["AgentPool", "AgentSettings", "TestAgent", "TestGroup"]
