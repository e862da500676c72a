"""Keys by SDES (RFC 4568), made by the stack: each description is judged before sound is connected."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.call.events import Keying as KeyingName
from sipmikey.call.events import MediaProtection
from sipmikey.call.keying.keying import Agreement, KmsQuestion, Lane, StreamKeys
from sipmikey.call.keying.sdes_exchange import SdesExchange
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sdp import AnswerMissing


class SdesKeying:
    """Implements ``Keying``. *suites*: names of acceptable crypto suites. *over*: whether policy lets keys
    go over a SIP transport (``CallPolicy.sdes_over``). No KMS vouches for the peer.
    """

    name: KeyingName | None = "sdes"
    lane = Lane.SDES
    gives_keys = False
    unkeyed = MediaProtection.HELD
    vouches = False
    # The stack would make the new call as it made this one: without a ticket.
    may_transfer = False
    shares_keys = False
    may_rekey = False

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

    def question(self) -> KmsQuestion | None:
        return None

    def receive_kms(self, response: bytes) -> str | None:
        raise AgentError(Reason.UNEXPECTED_MESSAGE, "nothing was asked of a KMS", side="local")

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return self._exchange.made(sdp, answering=True), self._agreement()

    def abandon(self) -> None:
        """The offer that was refused is replaced by the next one."""

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
