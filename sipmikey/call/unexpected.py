"""Answers to what a state of the call does not take: a refusal, an error, or none."""

from __future__ import annotations

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.outbox import Outbox
from sipmikey.call.reasons import AgentError, Reason

NO_SUCH_CALL = 481


def answer_unexpected(item: i.Input, out: Outbox) -> None:
    """Put into *out* the answer to *item*, which the state of the call does not take."""
    match item:
        case i.LocalDescription():
            error = AgentError(Reason.UNEXPECTED_MESSAGE, "the call no longer exists", side="local")
            out.put(o.Withhold(error=error))
        case i.RemoteOffer() | i.TransferAsked() | i.ReplacementAsked():
            out.put(o.Refuse(status=NO_SUCH_CALL))
        case i.Propose():
            error = AgentError(Reason.UNEXPECTED_MESSAGE, "the call is not established", side="local")
            out.put(o.ChangeDone(token=item.token, error=error))
        case i.Refer():
            out.put(o.ReferDone(token=item.token, status=NO_SUCH_CALL))
        case i.Received() if item.message.method == "INVITE" and item.message.status // 100 == 2:
            end_surplus(item.message.to_tag, out)


def end_surplus(to_tag: str, out: Outbox) -> None:
    """Acknowledge and end a 2xx of a branch that does not have the call (RFC 3261 section 13.2.2.4)."""
    out.put(o.Acknowledge(to_tag=to_tag))
    out.put(o.EndBranch(to_tag=to_tag))
