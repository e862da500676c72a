"""An established session: offers and answers of re-INVITE and UPDATE, from either side."""

from __future__ import annotations

from collections.abc import Mapping

from sipmikey.sdp.keyed import Keyed


class Session:
    """The keys of an established call, and their update (RFC 6043 section 5.2).

    Made by `Offerer.choose` and `Answerer.session`. Either side may offer::

        sdp_to_send = session.offer(my_sdp)               session.receive_offer(sdp_that_came)
        session.check_sent(sdp_that_went_out)             sdp_to_send, keyed = session.answer(my_sdp)
        keyed = session.receive_answer(sdp_that_came)     session.check_sent(sdp_that_went_out)

    An offer without *rekey* whose streams are keyed already repeats the attribute sent last, and no key
    changes. A stream that was added, or *rekey*, makes it a CSB update.
    """

    @property
    def keyed(self) -> Keyed:
        """The keys in force."""
        raise NotImplementedError

    def offer(self, sdp: str, *, rekey: bool = False, ssrcs: Mapping[int, int] | None = None) -> str:
        """Return *sdp* as an offer within the session. Raises `LocalError`, also while one is pending."""
        raise NotImplementedError

    def receive_answer(self, sdp: str | None) -> Keyed:
        """Take the answer to `offer`. Raises a `PeerError`; the keys are then what they were."""
        raise NotImplementedError

    def receive_offer(self, sdp: str | None) -> bool:
        """Check an offer of the peer; return whether it changes keys. Raises a `PeerError` to refuse it."""
        raise NotImplementedError

    def answer(self, sdp: str, *, ssrcs: Mapping[int, int] | None = None) -> tuple[str, Keyed]:
        """Return *sdp* as the answer to `receive_offer`, and the keys from now on."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Drop the exchange under way, in either direction: it was refused (491, 488) or timed out."""
        raise NotImplementedError

    def check_sent(self, sdp: str) -> None:
        """Raise `SentSdpAltered` unless *sdp*, as sent, still carries what `offer` or `answer` made."""
        raise NotImplementedError

    def close(self) -> None:
        """Forget every key."""
        raise NotImplementedError
