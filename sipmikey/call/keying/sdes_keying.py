"""Keys by SDES (RFC 4568), made by the stack: each description is judged before sound is connected."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.call.keying.agreement import Agreement, StreamKeys
from sipmikey.call.keying.keying import KeyingKind
from sipmikey.call.keying.means import Incoming, Means, Outgoing
from sipmikey.call.keying.sdes import SDES
from sipmikey.call.keying.sdes_exchange import SdesExchange, keyed_by_crypto, why_unfit
from sipmikey.call.keying.without_kms import WithoutKms
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import PeerError
from sipmikey.sdp import AnswerMissing


class SdesKeying(WithoutKms):
    """Implements ``Keying``. *suites*: names of acceptable crypto suites. *over*: whether policy lets keys
    go over a SIP transport. No KMS vouches for the peer.
    """

    @property
    def kind(self) -> KeyingKind:
        return SDES

    def __init__(self, suites: tuple[str, ...], over: Callable[[str], bool]) -> None:
        self._exchange = SdesExchange(suites)
        self._over = over
        self._answered_by: str | None = None
        self._chosen = False

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        return self._exchange.made(sdp, answering=False)

    def check_sent(self, sdp: str, transport: str) -> None:
        self._exchange.check_sent(sdp)
        if not self._over(transport):
            raise AgentError(
                Reason.POLICY, f"keys of SDES went over {transport}, but policy demands TLS", side="local"
            )

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        if sdp is None:
            raise AnswerMissing("the response carries no SDP", field="SDP")
        self._exchange.receive_answer(sdp)
        self._answered_by = to_tag
        return self._agreement()

    def discard(self, to_tag: str) -> None:
        if self._answered_by == to_tag:
            self._answered_by = None

    def choose(self, to_tag: str) -> None:
        # The stack runs on the keys of the description that came last, whichever branch it is of.
        if self._answered_by != to_tag:
            raise AnswerMissing("the stream runs on the keys of another branch", field="SDP")
        self._chosen = True

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        if to_tag and not self._chosen and to_tag != self._answered_by:
            detail = "the stream runs on the keys of another branch, which answered last"
            raise AgentError(Reason.UNEXPECTED_MESSAGE, detail)
        self._exchange.receive_offer(sdp or "")
        return Agreement()

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return self._exchange.made(sdp, answering=True), self._agreement()

    def close(self) -> None:
        self._exchange.close()

    def _agreement(self) -> Agreement:
        streams = tuple(
            StreamKeys(
                index=stream.index,
                suite=stream.suite,
                send_key=stream.send_key,
                receive_key=stream.receive_key,
            )
            for stream in self._exchange.streams
        )
        return Agreement(streams=streams, suite=streams[-1].suite if streams else None)


def _suites(means: Means) -> tuple[str, ...]:
    return tuple(suite.value for suite in means.suites)


def _over(means: Means) -> Callable[[str], bool]:
    allowed = SDES.alternatives.get(means.policy.alternative)
    return lambda transport: allowed is not None and (not allowed or transport in allowed)


def recognises(offer: str | None) -> bool:
    """Return whether *offer* has keys in a=crypto and no key management."""
    return offer is not None and keyed_by_crypto(offer)


def unfit(offer: str, means: Means) -> PeerError | None:
    """Return why *offer* cannot be answered, None where it can."""
    return why_unfit(offer, _suites(means))


def calling(means: Means, outgoing: Outgoing) -> SdesKeying:
    """Make the keying of a call of ours."""
    return SdesKeying(_suites(means), _over(means))


def called(means: Means, incoming: Incoming) -> SdesKeying:
    """Make the keying of a call to us. Raises ``PeerError`` for an offer that cannot be answered."""
    keying = SdesKeying(_suites(means), _over(means))
    # The stack makes its answer before the call is judged.
    keying.receive_offer(incoming.offer)
    return keying
