"""What this stack does not do yet: refused when the agent starts, with the name of the setting."""

from __future__ import annotations

from sipmikey.agent.config import AgentConfig
from sipmikey.call.policy import Alternative, Fallback, SecurityMode
from sipmikey.mikey.errors import LocalError


def check_ready(config: AgentConfig) -> None:
    """Raise ``LocalError`` that names the first setting which needs the stack pjsua2."""
    policy = config.policy
    modes = (policy.security, *policy.contacts.values())
    needs = (
        ("security.policy off", "media in clear", SecurityMode.OFF in modes),
        ("security.fallback", "media in clear", policy.fallback is not Fallback.NEVER),
        ("security.alternative", "SDES", policy.alternative is not Alternative.NONE),
        ("nat", "ICE, STUN, TURN and rtcp-mux", config.nat.uses_ice or config.nat.rtcp_mux),
        ("media.echo", "an echo service", config.audio.echo),
    )
    for setting, what, needed in needs:
        if needed:
            raise LocalError(f"{setting}: sip.stack python has no {what} yet; use sip.stack pjsua2")
