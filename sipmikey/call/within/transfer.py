"""Calls that move: by our REFER, by the peer's, or because another call of ours transfers the peer away."""

from __future__ import annotations

from sipmikey.call.events import TransferRequested
from sipmikey.call.inputs import Refer, TransferProgress
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Permit, ReferDone, Refuse, SendRefer

_NOT_ACCEPTABLE_HERE = 488
_NO_SUCH_CALL = 481
_REQUEST_PENDING = 491


class Transfer:
    """The transfer under way. ``given_away``: the peer is being transferred by another call of ours."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._token: int | None = None
        self.given_away = False

    def refer(self, item: Refer) -> None:
        """Have the peer call another party, one at a time: its reports do not say which REFER they are of."""
        if self._token is not None:
            self._out.put(ReferDone(token=item.token, status=_REQUEST_PENDING))
            return
        self._token = item.token
        self._out.put(SendRefer(target=item.target, token=item.token, replacing=item.replacing))

    def not_sent(self) -> None:
        """The REFER did not go out: the stack has told the sender."""
        self._token = None

    def progress(self, item: TransferProgress) -> None:
        """The peer reports how its new call goes; the final report ends the transfer."""
        if item.final:
            self._finish(item.status)

    def asked(self, target: str, *, allowed: bool) -> None:
        """The peer asks us to call *target*: let it, or refuse and tell."""
        if allowed:
            self._out.put(Permit())
            return
        self._out.tell(TransferRequested, target=target, status=_NOT_ACCEPTABLE_HERE, new_call="")
        self._out.put(Refuse(status=_NOT_ACCEPTABLE_HERE))

    def forget(self) -> None:
        """The call is over: no further report will come."""
        self._finish(_NO_SUCH_CALL)

    def _finish(self, status: int) -> None:
        if self._token is not None:
            token, self._token = self._token, None
            self._out.put(ReferDone(token=token, status=status))
