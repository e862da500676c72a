"""What this stack does not do yet: refused when the agent starts, with the name of the setting."""

from __future__ import annotations

from sipmikey.agent.config import AgentConfig
from sipmikey.mikey.errors import LocalError


def check_ready(config: AgentConfig) -> None:
    """Raise ``LocalError`` that names the first setting which needs the stack pjsua2."""
    needs = (("media.echo", "an echo service", config.audio.echo),)
    for setting, what, needed in needs:
        if needed:
            raise LocalError(f"{setting}: sip.stack python has no {what} yet; use sip.stack pjsua2")
