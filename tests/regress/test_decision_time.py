"""`timeouts.decision` of the configuration is how long the agent waits for the user."""

from __future__ import annotations

from dataclasses import fields, replace

from sipmikey.agent import Timeouts as AgentTimeouts
from sipmikey.cli.calls.setup import agent_config
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.config.sections.keys import Security
from sipmikey.cli.config.sections.media import Timeouts
from sipmikey.cli.config.sections.signalling import Identity

NOT_OF_CALLS = {"mailbox"}
"""Times that commands wait for what the agent does not ask."""


def test_every_time_that_can_be_configured_reaches_the_agent() -> None:
    base = Configuration(
        identity=Identity(uri="sip:alice@example.com"), security=Security(policy="off"), timeouts=Timeouts()
    )
    names = {entry.name for entry in fields(Timeouts)} - NOT_OF_CALLS
    for number, name in enumerate(sorted(names)):
        wanted = 3.0 + number
        configured = replace(base, timeouts=replace(Timeouts(), **{name: wanted}))
        assert getattr(agent_config(configured).timeouts, name) == wanted, name
    assert {entry.name for entry in fields(AgentTimeouts)} >= names
