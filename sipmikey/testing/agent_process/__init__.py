"""The process of one agent under test: commands come as JSON lines on stdin, events and results go out.

`python -m sipmikey.testing.agent_process` is started by `sipmikey.testing.agent_driver`. The first line holds
the settings, see `agent_config` and `main`; each other one is a command, `{"id": 1, "do": "call", ...}`. Its
outcome is `{"id": 1, "result": ...}` or `{"id": 1, "error": {...}}`. Everything else that is printed is an
event: the agent's own, and those of type `kit.*`.
"""

from sipmikey.testing.agent_process.entry import main, run
from sipmikey.testing.agent_process.settings import agent_config

__all__ = ["agent_config", "main", "run"]
