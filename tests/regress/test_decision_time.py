"""`timeouts.decision` of the configuration is how long the agent waits for the user."""

from __future__ import annotations

from dataclasses import fields, replace

from sipmikey.agent import Timeouts as AgentTimeouts
from sipmikey.cli.calls.setup import agent_config
from sipmikey.cli.config.schema import Configuration, Identity, Security, Timeouts


def test_every_time_that_can_be_configured_reaches_the_agent() -> None:
    base = Configuration(
        identity=Identity(uri="sip:alice@example.com"), security=Security(policy="off"), timeouts=Timeouts()
    )
    for number, entry in enumerate(fields(Timeouts)):
        wanted = 3.0 + number
        configured = replace(base, timeouts=replace(Timeouts(), **{entry.name: wanted}))
        assert getattr(agent_config(configured).timeouts, entry.name) == wanted, entry.name
    assert {entry.name for entry in fields(AgentTimeouts)} >= {entry.name for entry in fields(Timeouts)}
