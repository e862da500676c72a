"""The caller: one offer, and an answer from any number of branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sipmikey.mikey.errors import LimitExceeded, LocalError, ReplayedMessage, UnexpectedMessage
from sipmikey.mikey.verification import sdp_ids_extension
from sipmikey.sdp.crypto import KeyExchange, check_suite, offered_entries, session_keys
from sipmikey.sdp.errors import AnswerMissing, ForkedWithoutKeys, IdentityMismatch, MediaMismatch
from sipmikey.sdp.keys import SessionKeys
from sipmikey.sdp.local import LocalDescription, choose_ssrcs, local_offer
from sipmikey.sdp.mapping import MediaStream, check_answer, crypto_session_ids, keyed_streams
from sipmikey.sdp.origin import with_origin_of
from sipmikey.sdp.remote import RemoteDescription
from sipmikey.sdp.sent_check import check_sent
from sipmikey.sdp.session import Session, Settings
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite, usable
from sipmikey.ticket.bundle import CryptoSessionBundle
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.transfer import TransferInitiator


@dataclass(frozen=True, slots=True, kw_only=True)
class _SentOffer:
    transfer: TransferInitiator
    own: LocalDescription
    ssrcs: Mapping[int, int]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    exchange: KeyExchange
    theirs: tuple[MediaStream, ...]
    keys: SessionKeys


class Offerer:
    """The MIKEY Initiator of one call.

    ::

        offerer = Offerer(env, grant=grant, called="sip:bob@example.org")
        invite_sdp = offerer.make_offer(my_sdp)
        offerer.check_sent(sdp_as_sent)
        keys = offerer.receive_answer(to_tag, received_sdp)  # for each branch
        session = offerer.choose(to_tag)  # erases the keys of all other branches

    *grant* is what the KMS granted and *called* the SIP URI that is called, which the ticket must allow.
    *identity* is the caller's, by default the one the ticket names. *suites* are those offered, in order of
    preference; of them, those as strong as the ticket's keys are used. *accepts* may refuse the identity that
    answered. At most *max_candidates* branches are kept. *allow_other_media* lets active m-lines that are not
    RTP through; by default they are refused, because nothing here protects them.

    Raises `LocalError` for a ticket that cannot be used like this.
    """

    def __init__(
        self,
        env: Environment,
        *,
        grant: TicketGrant,
        called: str,
        identity: str | None = None,
        suites: Sequence[SrtpSuite | str] = DEFAULT_SUITES,
        accepts: Callable[[str], bool] | None = None,
        max_candidates: int = 32,
        allow_other_media: bool = False,
    ) -> None:
        policy = grant.policy
        caller = identity or policy.initiator
        if caller is None:
            raise LocalError("the ticket names no Initiator: say who calls")
        if not policy.allows_responder(called):
            raise LocalError(f"the ticket is not for {called}")
        if not policy.flags.response_sent:
            raise LocalError("F is 0: a call needs a ticket whose Responder sends TRANSFER_RESP")
        chosen = tuple(SrtpSuite(suite) for suite in suites)
        self._env = env
        self._grant = grant
        self._caller = canonical(caller)
        self._called = canonical(called)
        self._suites = usable(chosen, policy.suite.key_length * 8)
        self._accepts = accepts
        self._max_candidates = max_candidates
        self._settings = Settings(suites=self._suites, allow_other_media=allow_other_media)
        self._offer: _SentOffer | None = None
        self._candidates: dict[str, _Candidate] = {}
        self._sessions: dict[str, Session] = {}
        self._seen: dict[bytes, str] = {}

    def make_offer(self, sdp: str, *, ssrcs: Mapping[int, int] | None = None) -> str:
        """Return *sdp* as an offer: RTP/AVP made RTP/SAVP, and a=key-mgmt with TRANSFER_INIT added.

        *ssrcs* maps m-line indexes (from 0) to the SSRC this side will send; for other m-lines the a=ssrc
        line counts, and without one an SSRC is drawn. Called once. Raises `LocalError`.
        """
        if self._offer is not None:
            raise LocalError("the offer has been made: make a new Offerer for a new offer")
        env = self._env
        own = local_offer(
            sdp,
            allow_other_media=self._settings.allow_other_media,
            max_bytes=env.limits.message_bytes,
        )
        chosen = choose_ssrcs(env, own.keyed, ssrcs)
        numbers = range(len(self._suites))
        transfer = TransferInitiator.start(
            env,
            self._grant,
            crypto_sessions=offered_entries(own.keyed, chosen, numbers),
            policies=[suite.policy.payload(number) for number, suite in enumerate(self._suites)],
            initiator=self._caller,
            responder=self._called,
            extensions=[sdp_ids_extension(own.protocols)],
        )
        text = own.carrying([(None, transfer.message)])
        self._offer = _SentOffer(transfer=transfer, own=own, ssrcs=chosen, text=text)
        return text

    def _made(self) -> _SentOffer:
        if self._offer is None:
            raise LocalError("there is no offer, or it is closed")
        return self._offer

    @property
    def transfer_init(self) -> bytes:
        """The TRANSFER_INIT of the offer."""
        return self._made().transfer.message

    def check_sent(self, sdp: str) -> None:
        """Raise `SentSdpAltered` unless *sdp*, as it was sent, still carries the offer made."""
        made = self._made()
        check_sent(made.text, sdp, max_bytes=self._env.limits.message_bytes)
        self._offer = replace(made, text=with_origin_of(made.text, sdp))

    def receive_answer(self, to_tag: str, sdp: str | None) -> SessionKeys:
        """Take the answer of the branch *to_tag* and return its keys.

        The same answer again (a 183 repeated in the 200) gives the same keys, with ``changed`` false. Raises
        a `PeerError` when the answer must be refused: the set-up on that branch has then failed, and other
        branches are not affected. *sdp* None is `AnswerMissing`.
        """
        made = self._made()
        if sdp is None:
            raise AnswerMissing("the response carries no SDP", field="SDP", section="RFC 3261 section 13.2.1")
        received = RemoteDescription.parse(sdp, max_bytes=self._env.limits.message_bytes)
        check_answer(made.own.streams, received.streams)
        message = received.only_message(
            keyed_streams(received.streams, allow_other=self._settings.allow_other_media)
        )
        known = self._candidates.get(to_tag)
        if known is None:
            exchange = self._new_branch(to_tag, message)
        elif message == known.exchange.received:
            exchange = known.exchange
        else:
            raise UnexpectedMessage("the branch has answered before, with another TRANSFER_RESP")
        keys = session_keys(
            [exchange],
            made.own.streams,
            received.streams,
            called=self._called,
            ticket_id=self._grant.ticket_id,
            before=None if known is None else known.keys,
        )
        self._seen[message] = to_tag
        self._candidates[to_tag] = _Candidate(exchange=exchange, theirs=received.streams, keys=keys)
        return keys

    def _new_branch(self, to_tag: str, message: bytes) -> KeyExchange:
        # The same TRANSFER_RESP on a second branch would put two streams under the same keys.
        if message in self._seen:
            raise ReplayedMessage("this TRANSFER_RESP answered on another branch")
        if self._seen and self.shares_keys:
            raise ForkedWithoutKeys(
                "another device has answered, and this ticket has the same keys for all",
                field="TICKET flags I",
            )
        if len(self._seen) >= self._max_candidates:
            raise LimitExceeded(f"more than {self._max_candidates} branches have answered")
        made = self._made()
        bundle = made.transfer.receive(message)
        if self._accepts is not None and not self._accepts(bundle.peer):
            raise IdentityMismatch(f"{bundle.peer} answered, which policy does not accept", field="IDRr")
        return self._checked(made, bundle, message)

    def _checked(self, made: _SentOffer, bundle: CryptoSessionBundle, message: bytes) -> KeyExchange:
        exchange = KeyExchange(
            levels=(None,),
            pairs={stream.index: crypto_session_ids(stream.index) for stream in made.own.keyed},
            bundle=bundle,
            sent=made.transfer.message,
            received=message,
        )
        for session in bundle.crypto_sessions:
            check_suite(session, self._suites)
        for index, ssrc in made.ssrcs.items():
            if exchange.own_ssrc(index) not in (ssrc, None):
                raise MediaMismatch(
                    "the answer changes the SSRC this side sends with",
                    field=f"CS ID {exchange.own_cs_id(index)}",
                )
        return exchange

    @property
    def shares_keys(self) -> bool:
        """True where the ticket gives every device that answers the same keys (I = 0)."""
        return not self._grant.policy.flags.key_forking

    @property
    def candidates(self) -> tuple[str, ...]:
        """The To-tags of branches that have keys."""
        return tuple(self._candidates)

    def discard(self, to_tag: str) -> None:
        """Forget a branch that ended; unknown tags are ignored."""
        self._candidates.pop(to_tag, None)
        if (session := self._sessions.pop(to_tag, None)) is not None:
            session.close()

    def session(self, to_tag: str) -> Session:
        """Return the session of a branch that is not chosen yet: it may offer (UPDATE, RFC 3311).

        Each branch has one of its own, which `choose` returns for the branch chosen. From then on, later
        answers of the branch do not count (RFC 3261 section 13.2.1): do not give them to `receive_answer`.
        Raises `LocalError` for a branch without keys.
        """
        if (known := self._sessions.get(to_tag)) is not None:
            return known
        candidate = self._candidates.get(to_tag)
        if candidate is None:
            raise LocalError(f"no answer of the branch {to_tag} was accepted")
        session = self._sessions[to_tag] = Session(
            self._env,
            exchanges=(candidate.exchange,),
            theirs=candidate.theirs,
            keys=candidate.keys,
            settings=self._settings,
            told=self._made().text,
        )
        return session

    def choose(self, to_tag: str) -> Session:
        """Bind the call to a branch and erase the keys of all others; return its session for later offers.

        Raises `LocalError` for a branch without keys. No answer is taken afterwards.
        """
        session = self.session(to_tag)
        del self._sessions[to_tag]
        self.close()
        return session

    def close(self) -> None:
        """Forget every key."""
        self._offer = None
        self._candidates.clear()
        self._seen.clear()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
