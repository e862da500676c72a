"""The caller: one offer, and an answer from any number of branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sipmikey.sdp.keyed import Keyed
from sipmikey.sdp.session import Session
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite


class Offerer:
    """The MIKEY Initiator of one call.

    ::

        offerer = Offerer(env, grant=grant, called="sip:bob@example.org")
        invite_sdp = offerer.offer(my_sdp)
        offerer.check_sent(sdp_that_went_out)
        keyed = offerer.answer(to_tag, sdp_that_came)     # for each branch
        session = offerer.choose(to_tag)                  # the others' keys are gone

    *grant* is what the KMS granted; its IDRi is the identity of the caller. *called* is the SIP URI that is
    called. *suites* are those offered, in order of preference; of them, those as strong as the ticket's keys
    are used. At most *max_candidates* branches are kept. *allow_other_media* lets active m-lines that are not
    RTP through; by default they are refused, because nothing here protects them.
    """

    def __init__(
        self,
        env: Any,
        *,
        grant: Any,
        called: str,
        suites: Sequence[SrtpSuite | str] = DEFAULT_SUITES,
        max_candidates: int = 32,
        allow_other_media: bool = False,
    ) -> None: ...

    def offer(self, sdp: str, *, ssrcs: Mapping[int, int] | None = None) -> str:
        """Return *sdp* as an offer: RTP/AVP made RTP/SAVP, and a=key-mgmt with TRANSFER_INIT added.

        *ssrcs* maps m-line indexes (from 0) to the SSRC this side will send; where it is silent the m-line's
        a=ssrc line counts, and else one is drawn. Called once. Raises `LocalError`.
        """
        raise NotImplementedError

    def check_sent(self, sdp: str) -> None:
        """Raise `SentSdpAltered` unless *sdp*, as it was sent, still carries the offer made."""
        raise NotImplementedError

    def answer(self, to_tag: str, sdp: str | None) -> Keyed:
        """Take the answer of the branch *to_tag* and return its keys.

        The same answer again (a 183 repeated in the 200) gives the same keys, with ``changed`` false. Raises
        a `PeerError` when the answer must be refused; the branch, and with it the call set-up on that branch,
        has then failed. *sdp* None is `AnswerMissing`.
        """
        raise NotImplementedError

    @property
    def candidates(self) -> tuple[str, ...]:
        """The To-tags of branches that have keys."""
        raise NotImplementedError

    def discard(self, to_tag: str) -> None:
        """Forget a branch that ended; unknown tags are ignored."""
        raise NotImplementedError

    def choose(self, to_tag: str) -> Session:
        """Bind the call to a branch and erase every other; return its session for later offers."""
        raise NotImplementedError

    def close(self) -> None:
        """Forget every key."""
        raise NotImplementedError
