"""pjsua2's endpoint: its callbacks outside of calls and accounts. In the engine's thread."""

from __future__ import annotations

from typing import Any, Protocol

from sipmikey.agent.pjsua.library import logged, pj
from sipmikey.agent.stack import StackObserver


class EndpointOwner(Protocol):
    """The stack, as the endpoint asks and tells it."""

    observer: StackObserver

    def choose_account(self, text: str, source: str) -> int:
        """Return the number of the account for the INVITE *text* from *source* (``host:port``)."""

    def connection_changed(self, transport: int, state: int) -> None:
        """A TCP or TLS connection came or went. *transport*: address of the ``pjsip_transport``."""


class CallbackEndpoint(pj.Endpoint):  # type: ignore[misc]
    """Takes pjsua2's callbacks of the whole library to the *stack*."""

    def __init__(self, stack: EndpointOwner) -> None:
        super().__init__()
        self._stack = stack

    def onSelectAccount(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        data = prm.rdata
        if data.info.startswith("Request msg INVITE"):
            prm.accountIndex = self._stack.choose_account(data.wholeMsg, data.srcAddress)

    def onTransportState(self, prm: Any) -> None:  # noqa: N802
        with logged("a connection"):
            if not prm.type.upper().startswith("UDP"):
                self._stack.connection_changed(int(prm.hnd), int(prm.state))

    def onRejectedIncomingCall(self, prm: Any) -> None:  # noqa: N802
        with logged("a call the stack refused"):
            self._stack.observer.on_turned_away(prm.remoteInfo, int(prm.statusCode), prm.reason)
