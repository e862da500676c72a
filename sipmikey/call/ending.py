"""Why a call ended, from an error of this side or from what the peer sent last."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.call.events import MikeyRefused
from sipmikey.call.inputs import Message
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Headers
from sipmikey.call.reasons import (
    AgentError,
    Family,
    Reason,
    Side,
    reason_of,
    reason_of_status,
    side_of,
    status_of,
    warning_header,
)
from sipmikey.mikey.errors import SipmikeyError

_PRIVATE = frozenset({Family.KMS, Family.INTERNAL, Family.TRANSPORT})

TOO_LONG = "PJSIP_EMSGTOOLONG"
"""In the reason with which the stack ends a call whose message is over its limit."""

_UNUSABLE = frozenset({400, 406, 415, 488})
"""Causes with which the stack ends a call whose descriptions it cannot use."""

_REQUEST_TIMEOUT = 408
_REQUEST_TERMINATED = 487
_NOBODY_THERE = (
    "nobody answered, and no sign of life came in 32 s: nobody may be at that address, or the network loses"
    " what is sent there"
)
_TOO_LONG_HERE = (
    "the SIP request is longer than pjsip was built to send (PJSIP_MAX_PKT_LEN, 4000 octets as a rule): "
    "offer fewer streams, codecs or suites, shorten identities, or build pjsip with a larger limit"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a call ended."""

    reason: Reason
    side: Side
    status: int
    detail: str

    @classmethod
    def of(cls, error: BaseException) -> Ending:
        """Return the ending that *error* stands for. An unexpected error shows only its type."""
        detail = str(error) if isinstance(error, SipmikeyError) else type(error).__name__
        return cls(reason=reason_of(error), side=side_of(error), status=status_of(error), detail=detail)

    @classmethod
    def by_peer(cls, last: Message | None, status: int, reason: str, *, answered: bool = True) -> Ending:
        """Return the ending that the peer, or the lack of one, brought about.

        *last*: the BYE or the failure response, if there was one; *status*, *reason*: what the stack says.
        *answered*: the peer gave a sign of life.
        """
        if last is not None and last.method == "BYE":
            word = reason_of_status(200, warning=last.reason) if last.reason else Reason.HANGUP
            word = Reason.HANGUP if word is Reason.SIP_FAILURE else word
            return cls(reason=word, side="remote", status=200, detail=last.reason or "the peer hung up")
        if last is not None and last.status:
            word = reason_of_status(last.status, warning=last.warning)
            detail = last.warning or last.phrase
            return cls(reason=word, side="remote", status=last.status, detail=detail)
        if status == _REQUEST_TERMINATED:
            return cls(reason=Reason.CANCELLED, side="remote", status=status, detail="the caller gave up")
        if TOO_LONG in reason:
            return cls(reason=Reason.MESSAGE_TOO_LARGE, side="local", status=513, detail=_TOO_LONG_HERE)
        if status == _REQUEST_TIMEOUT and not answered:
            return cls(reason=Reason.NO_ANSWER, side="network", status=status, detail=_NOBODY_THERE)
        word = Reason.NO_ANSWER if status == _REQUEST_TIMEOUT else Reason.TRANSPORT_FAILED
        return cls(reason=word, side="network", status=status, detail=reason or "no connection")

    @classmethod
    def by_stack(cls, last: Message) -> Ending | None:
        """Return why the stack ended a call by itself, with a BYE or CANCEL that the machine did not ask for.

        None where the cause is not a description of the peer.
        """
        if last.method == "BYE" and last.cause not in _UNUSABLE:
            return None
        detail = f"the SIP stack cannot use the description of the peer: {last.reason or 'malformed SDP'}"
        return cls(reason=Reason.MEDIA_MISMATCH, side="remote", status=last.cause or 488, detail=detail)

    @property
    def error(self) -> AgentError:
        """The ending as the error of what it made fail."""
        return AgentError(self.reason, self.detail, side=self.side, sip_status=self.status)

    def headers(self, identity: str) -> Headers:
        """Return the Warning and Reason headers that tell the peer; none where there is nothing wrong."""
        if self.reason.family is Family.ENDED:
            return ()
        host = identity.rpartition("@")[2] or "sipmikey"
        # The detail of a local fault may hold addresses and names: only the reason's word is sent.
        private = self.side == "kms" or self.reason.family in _PRIVATE
        warning = warning_header(self.reason, "" if private else self.detail, agent=host)
        text = warning.partition('"')[2].rstrip('"')
        return ("Warning", warning), ("Reason", f'SIP;cause={self.status};text="{text}"')


TRANSFERRED = Ending(reason=Reason.TRANSFERRED, side="local", status=200, detail="transferred")


def tell_refused(out: Outbox, error: BaseException, to_tag: str = "") -> Ending:
    """Tell that a MIKEY message or description was refused, by branch *to_tag*; return what *error* means."""
    ending = Ending.of(error)
    if ending.reason.family in (Family.KEYING, Family.NO_KEYING):
        out.tell(MikeyRefused, reason=ending.reason, side=ending.side, detail=ending.detail, to_tag=to_tag)
    return ending
