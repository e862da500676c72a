"""Keys by SDES (RFC 4568), made by the stack: each description is judged before sound is connected."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from sipmikey.call.keying.keying import Agreement, KeyingKind, StreamKeys, Words
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.keying.means import Incoming, Means, Outgoing
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
    allowed = _ALTERNATIVES.get(means.policy.alternative)
    return lambda transport: allowed is not None and (not allowed or transport in allowed)


def _calling(means: Means, outgoing: Outgoing) -> SdesKeying:
    return SdesKeying(_suites(means), _over(means))


def _called(means: Means, incoming: Incoming) -> SdesKeying:
    keying = SdesKeying(_suites(means), _over(means))
    # The stack makes its answer before the call is judged.
    keying.receive_offer(incoming.offer)
    return keying


def _unfit(offer: str, means: Means) -> PeerError | None:
    return why_unfit(offer, _suites(means))


_ALTERNATIVES = MappingProxyType({"sdes": ("tls",), "sdes-without-tls": ()})

# The stack would make the call of a transfer as it made this one: without a ticket.
SDES = KeyingKind(
    name="sdes",
    lane=Lane.BY_STACK,
    place=10,
    words=Words(
        short="SDES",
        label="SDES: the servers on the way know the keys",
        exposed="keys readable by every proxy",
        warning="The keys went through every server on the way. Anyone who runs one can listen.",
        offered="the offer has a=crypto and no key management",
    ),
    recognises=lambda offer: offer is not None and keyed_by_crypto(offer),
    unfit=_unfit,
    calling=_calling,
    called=_called,
    alternatives=_ALTERNATIVES,
)
