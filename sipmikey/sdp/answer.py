"""The callee: early checks, the question to the KMS, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sipmikey.sdp.keyed import Keyed, Offered
from sipmikey.sdp.session import Session
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite


class Answerer:
    """The MIKEY Responder of one call.

    ::

        answerer = Answerer(env, identities=["sip:bob@example.org"])
        offered = answerer.receive_offer(invite_sdp, sip_caller=from_or_p_asserted_identity)
        while answerer.unresolved:
            answerer.resolved(ask_the_kms(answerer.resolve_request(credential)))
        sdp_to_send, keyed = answerer.answer(my_sdp)
        answerer.check_sent(sdp_that_went_out)
        session = answerer.session

    *identities* are this side's; the first one is put into RESOLVE_INIT. *suites* are those accepted. *kmss*
    are the KMSs trusted (None: any that the ticket names; the one actually asked has to know the ticket).
    *replayed* is told the octets of each TRANSFER_INIT and returns true for one seen before. The other
    parameters are as with `Offerer`.
    """

    def __init__(
        self,
        env: Any,
        *,
        identities: Sequence[str],
        suites: Sequence[SrtpSuite | str] = DEFAULT_SUITES,
        kmss: Collection[str] | None = None,
        replayed: Callable[[bytes], bool] | None = None,
        allow_other_media: bool = False,
    ) -> None: ...

    def receive_offer(self, sdp: str | None, *, sip_caller: str) -> Offered:
        """Check an offer as far as that goes without the KMS. Raises a `PeerError` to refuse it.

        *sip_caller* is the SIP identity of the caller: P-Asserted-Identity from a trusted proxy, else From.
        *sdp* None (an INVITE without offer) is `OfferMissing`.
        """
        raise NotImplementedError

    @property
    def unresolved(self) -> int:
        """How many tickets are still to be resolved: 1 after an ordinary offer, 0 when all are."""
        raise NotImplementedError

    def resolve_request(self, credential: Any) -> bytes:
        """Return the RESOLVE_INIT for the next unresolved ticket."""
        raise NotImplementedError

    def resolved(self, response: bytes) -> None:
        """Take the RESOLVE_RESP, and verify TRANSFER_INIT with the keys in it. Raises a `PeerError`."""
        raise NotImplementedError

    def answer(self, sdp: str, *, ssrcs: Mapping[int, int] | None = None) -> tuple[str, Keyed]:
        """Return *sdp* as the answer, with TRANSFER_RESP, and the keys. *ssrcs* as in `Offerer.offer`.

        To repeat an answer (183 and then 200), send the same text again. Raises `LocalError`.
        """
        raise NotImplementedError

    def check_sent(self, sdp: str) -> None:
        """Raise `SentSdpAltered` unless *sdp*, as it was sent, still carries the answer made."""
        raise NotImplementedError

    @property
    def session(self) -> Session:
        """The session for later offers, once there is an answer."""
        raise NotImplementedError

    def close(self) -> None:
        """Forget every key."""
        raise NotImplementedError
