"""The fixtures of the kit."""

from sipmikey.testing.plugin import (
    agent_pool,
    call_stage,
    forking_proxy,
    kms,
    kms_server,
    own,
    voices,
)

__all__ = ["agent_pool", "call_stage", "forking_proxy", "kms", "kms_server", "own", "voices"]
