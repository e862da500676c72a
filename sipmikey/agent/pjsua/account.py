"""pjsua2's accounts: one per lane, each tells of its calls and its registration. In the engine's thread."""

from __future__ import annotations

from typing import Any, Protocol

from sipmikey.agent.pjsua.library import logged, pj, read_message
from sipmikey.agent.stack import Lane, StackObserver


class AccountOwner(Protocol):
    """The owner of the accounts, as they report to it."""

    def accept_incoming(self, account: PjsuaAccount, number: int, text: str, source: str) -> None:
        """Call *number* came in on *account*, with the INVITE *text* from *source* (``host:port``)."""

    def on_registration(self, status: int, reason: str, expires_s: int) -> None:
        """The registrar answered, or did not (*status* 408 or 503 then)."""


class PjsuaAccount(pj.Account):  # type: ignore[misc]
    """The account of a *lane*. *observer* is told of messages outside of calls."""

    def __init__(self, owner: AccountOwner, observer: StackObserver, lane: Lane) -> None:
        super().__init__()
        self._owner = owner
        self._observer = observer
        self.lane = lane

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        with logged("an incoming call"):
            self._owner.accept_incoming(self, prm.callId, prm.rdata.wholeMsg, prm.rdata.srcAddress)

    def onMwiInfo(self, prm: Any) -> None:  # noqa: N802
        with logged("a message summary"):
            notify = read_message(prm.rdata.wholeMsg)
            self._observer.on_messages_waiting(notify, str(prm.rdata.srcAddress))

    def onInstantMessage(self, prm: Any) -> None:  # noqa: N802
        with logged("a message"):
            data = prm.rdata
            self._observer.on_message(read_message(data.wholeMsg), str(data.srcAddress))

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        with logged("a registration"):
            self._owner.on_registration(int(prm.code), prm.reason, int(prm.expiration))
