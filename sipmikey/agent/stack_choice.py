"""Which SIP stack an agent runs: pjsua2 in a process of its own or in this one, or the one in Python."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.engine import Stack
from sipmikey.agent.isolation.ahead import take_ahead
from sipmikey.agent.stack import StackError, StackObserver
from sipmikey.call.keying.permission import stack_keys


def open_stack(
    config: AgentConfig, observer: StackObserver, later: Callable[[float, Callable[[], None]], None]
) -> Stack:
    """Start the stack that *config* chooses. Raises ``StackError``, also where it is not installed."""
    if (config.sip.in_python or not config.isolated) and (loading := take_ahead()) is not None:
        loading.close()
    if config.sip.in_python:
        try:
            from sipmikey.agent.asyncio_sip.stack import AsyncioStack
        except ImportError as error:
            raise StackError(
                f"media in Python needs pylibsrtp ({error}); pip install 'sipmikey[media]'"
            ) from None
        return AsyncioStack(config, observer, later)
    keys = stack_keys(config.policy, config.keys.suites if config.keys else ("256", "128"))
    try:
        if config.isolated:
            from sipmikey.agent.isolation.stack import IsolatedStack

            if find_spec("pjsua2") is None:
                raise ImportError("there is no module named pjsua2")
            return IsolatedStack(config, observer, later, keys=keys)
        from sipmikey.agent.pjsua.stack import PjsuaStack
    except ImportError as error:
        raise StackError(f"pjsua2 is not installed ({error}); pip install 'sipmikey[pjsua2]'") from None
    return PjsuaStack(config, observer, later, keys=keys)
