"""What a command says when calls can be taken."""

from __future__ import annotations

import time
from typing import Any

from sipmikey.cli.calls.session import AgentSession
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.output import timestamp


def ready_document(session: AgentSession, loaded: LoadedConfiguration) -> dict[str, Any]:
    """Return the `agent.ready` document of *session*."""
    return {
        "ts": timestamp(time.time()),
        "type": "agent.ready",
        "call": "",
        "identity": loaded.configuration.identity.uri,
        "contact": session.agent.contact,
    }
