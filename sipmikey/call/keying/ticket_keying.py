"""Keys by MIKEY-TICKET (RFC 6043): late binding at the caller, the KMS's answer at the callee."""

from __future__ import annotations

from sipmikey.call.keying.agreement import Agreement, KmsQuestion, StreamKeys
from sipmikey.call.keying.keying import KeyingKind
from sipmikey.call.keying.lanes import SrtpKeys
from sipmikey.call.keying.means import Incoming, Means, Outgoing, TicketMeans
from sipmikey.call.keying.ticket import TICKET
from sipmikey.call.reasons import AgentError, Reason, kms_fault
from sipmikey.media.keying import StreamKey
from sipmikey.mikey.errors import LocalError, PeerError, UnknownKey
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.sdp import Answerer, MediaKeys, MediaNotSecured, Offerer, Session, SessionKeys
from sipmikey.sdp.attribute import mentions
from sipmikey.ticket.resolve import answerer_text


class TicketKeying:
    """Implements ``Keying``. Made by ``calling`` and ``called``."""

    @property
    def kind(self) -> KeyingKind:
        return TICKET

    def __init__(self, side: _Calling | _Called) -> None:
        self._side = side
        self._session: Session | None = None
        self._made_in_session = False
        # Of a branch that offered before one was chosen: until our answer has gone out.
        self._early: Session | None = None

    @classmethod
    def calling(cls, means: Means, outgoing: Outgoing) -> TicketKeying:
        """Key a call with the ticket in *outgoing*. Raises ``LocalError`` where the ticket cannot be used."""
        if outgoing.grant is None:
            raise LocalError(f"a call to {outgoing.called} keyed by a ticket needs one: grant is None")
        offerer = Offerer(
            means.env,
            grant=outgoing.grant,
            called=outgoing.called,
            suites=means.suites,
            accepts=outgoing.accepts,
        )
        return cls(_Calling(offerer))

    @classmethod
    def called(cls, means: Means, incoming: Incoming) -> TicketKeying:
        """Key a call to ``means.identity`` by the ticket in its offer."""
        tickets = means.tickets
        identities = (means.identity,)
        answerer = Answerer(means.env, identities=identities, suites=means.suites, replay=tickets.replay)
        return cls(_Called(answerer, incoming.caller, tickets))

    def judge(self, sdp: str | None) -> PeerError | AgentError | None:
        """Return what is wrong with an offer of the peer, before the stack opens anything for it.

        ``receive_offer`` tells the same then, without looking again.
        """
        return self._side.judge(sdp) if isinstance(self._side, _Called) else None

    @property
    def shares_keys(self) -> bool:
        return self._side.shares_keys

    @property
    def may_rekey(self) -> bool:
        return self._session is not None and self._session.may_rekey

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        if self._session is None:
            return self._side.make_offer(sdp)
        self._made_in_session = True
        return self._session.make_offer(sdp, rekey=rekey)

    def check_sent(self, sdp: str, transport: str) -> None:
        if self._session is not None and self._made_in_session:
            self._session.check_sent(sdp)
        elif self._early is not None:
            early, self._early = self._early, None
            early.check_sent(sdp)
        else:
            self._side.check_sent(sdp)

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        if self._session is not None:
            return _agreement(self._session.receive_answer(sdp))
        return _agreement(self._side.receive_answer(sdp, to_tag))

    def discard(self, to_tag: str) -> None:
        self._side.discard(to_tag)

    def choose(self, to_tag: str) -> None:
        self._session = self._side.choose(to_tag)
        self._early = None

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        session = self._session
        if session is None and isinstance(self._side, _Calling):
            session = self._side.session(to_tag)
        if session is None:
            return self._side.receive_offer(sdp)
        session.receive_offer(sdp)
        self._early = None if session is self._session else session
        return Agreement()

    def question(self) -> KmsQuestion | None:
        return self._side.question()

    def receive_kms(self, response: bytes) -> str | None:
        return self._side.receive_kms(response)

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        if self._session is not None:
            self._made_in_session = True
            text, keys = self._session.make_answer(sdp)
        elif self._early is not None:
            text, keys = self._early.make_answer(sdp)
        else:
            text, keys, self._session = self._side.make_answer(sdp)
        return text, _agreement(keys)

    def abandon(self) -> None:
        early, self._early = self._early, None
        for session in (self._session, early):
            if session is not None:
                session.abandon()

    def close(self) -> None:
        self._early = None
        self._side.close()
        if self._session is not None:
            self._session.close()


class _Calling:
    """The set-up at the caller, the MIKEY Initiator."""

    def __init__(self, offerer: Offerer) -> None:
        self._offerer = offerer

    @property
    def shares_keys(self) -> bool:
        return self._offerer.shares_keys

    def make_offer(self, sdp: str) -> str:
        return self._offerer.make_offer(sdp)

    def check_sent(self, sdp: str) -> None:
        self._offerer.check_sent(sdp)

    def receive_answer(self, sdp: str | None, to_tag: str) -> SessionKeys:
        return self._offerer.receive_answer(to_tag, sdp)

    def discard(self, to_tag: str) -> None:
        self._offerer.discard(to_tag)

    def choose(self, to_tag: str) -> Session:
        return self._offerer.choose(to_tag)

    def session(self, to_tag: str) -> Session:
        """Return the session of a branch that offers before it is chosen."""
        return self._offerer.session(to_tag)

    def receive_offer(self, sdp: str | None) -> Agreement:
        raise AgentError(Reason.UNEXPECTED_MESSAGE, "the peer offers before its answer has the call")

    def question(self) -> KmsQuestion | None:
        return None

    def receive_kms(self, response: bytes) -> str | None:
        raise AgentError(Reason.UNEXPECTED_MESSAGE, "nothing was asked of a KMS", side="local")

    def make_answer(self, sdp: str) -> tuple[str, SessionKeys, Session]:
        raise AgentError(Reason.OFFER_MISSING, "the peer sent an offer where an answer was due")

    def close(self) -> None:
        self._offerer.close()


class _Called:
    """The set-up at the callee, the MIKEY Responder."""

    shares_keys = False

    def __init__(self, answerer: Answerer, caller: str, tickets: TicketMeans) -> None:
        self._answerer = answerer
        self._caller = caller
        self._credential = tickets.credential_now
        self._kms = tickets.kms
        self._asked_about = tickets.asked_about
        self._kept = tickets.kept
        self._ticket_keys = tickets.ticket_keys
        self._ticket_id = ""
        self._ticket_kms: str | None = None
        self._timestamp: Timestamp | None = None
        self._judged: tuple[str | None, Agreement | BaseException] | None = None

    def make_offer(self, sdp: str) -> str:
        raise AgentError(Reason.OFFER_MISSING, "the INVITE carries no offer; send it again with SDP")

    def check_sent(self, sdp: str) -> None:
        self._answerer.check_sent(sdp)

    def receive_answer(self, sdp: str | None, to_tag: str) -> SessionKeys:
        raise AgentError(Reason.UNEXPECTED_MESSAGE, "an answer where there was no offer")

    def discard(self, to_tag: str) -> None:
        """The callee has no branches."""

    def choose(self, to_tag: str) -> Session:
        return self._answerer.session

    def judge(self, sdp: str | None) -> PeerError | AgentError | None:
        """Return what is wrong with an offer; it is judged once."""
        try:
            self._judged = sdp, self._take(sdp)
        except (PeerError, AgentError) as error:
            # The traceback would keep alive every object of the frames that it names.
            self._judged = sdp, error.with_traceback(None)
            return error
        return None

    def receive_offer(self, sdp: str | None) -> Agreement:
        judged, self._judged = self._judged, None
        if judged is None or judged[0] != sdp:
            return self._take(sdp)
        if isinstance(judged[1], BaseException):
            raise judged[1]
        return judged[1]

    def _take(self, sdp: str | None) -> Agreement:
        offer = self._answerer.receive_offer(sdp, sip_caller=self._caller)
        self._ticket_id, self._ticket_kms = offer.ticket_id, offer.kms
        self._timestamp = offer.timestamp
        resolved = None if self._kept is None else self._kept.get(offer.ticket_id)
        if self._kept is not None and resolved is not None:
            self._answerer.use_resolved(resolved)
            self._kept.used(offer.ticket_id, offer.timestamp)
        self._open_tickets()
        return Agreement(called=offer.called, kms=offer.kms, ticket=offer.ticket_id[:8])

    def _open_tickets(self) -> None:
        """Open the tickets that a key of ours opens; the KMS, if there is one, is asked about the others."""
        while self._answerer.unresolved and not self._answerer.resolve_mandatory:
            try:
                self._answerer.resolve_with(self._ticket_keys)
            except UnknownKey:
                if self._credential is None:
                    raise
                return

    def question(self) -> KmsQuestion | None:
        if not self._answerer.unresolved:
            return None
        if self._credential is None:
            raise AgentError(Reason.NO_KMS, "no KMS is configured", side="local")
        other = self._asked_about(self._ticket_kms)
        # IDRkms names the KMS that is asked, which passes the message on where the ticket is another's.
        message = self._answerer.make_resolve_init(self._credential, kms=other or self._kms)
        return KmsQuestion(message=message, kms=other, asked=other or self._kms)

    def receive_kms(self, response: bytes) -> str | None:
        try:
            resolved = self._answerer.open_resolve_resp(response)
        except PeerError as error:
            raise kms_fault(error) from None
        self._answerer.use_resolved(resolved)
        if self._kept is not None and self._timestamp is not None:
            self._kept.keep(self._ticket_id, resolved, self._timestamp)
        return answerer_text(resolved)

    def make_answer(self, sdp: str) -> tuple[str, SessionKeys, Session]:
        text, keys = self._answerer.make_answer(sdp)
        return text, keys, self._answerer.session

    def close(self) -> None:
        self._answerer.close()


def _agreement(keys: SessionKeys) -> Agreement:
    return Agreement(
        streams=tuple(_stream(media) for media in keys.media),
        peer=keys.peer,
        called=keys.called,
        kms=keys.kms,
        suite=keys.suite,
        ticket=keys.ticket_id[:8],
        rekey_interval_s=keys.rekey_interval_s,
    )


def _stream(media: MediaKeys) -> StreamKeys:
    send, receive = StreamKey.of(media.send), StreamKey.of(media.receive)
    name = send.profile.pjmedia_name
    if name is None or send.profile is not receive.profile:
        detail = f"pjmedia cannot run {send.profile.name}"
        raise AgentError(Reason.SUITE_UNAVAILABLE, detail, side="local")
    return StreamKeys(
        index=media.index,
        suite=name,
        send_key=send.key.fingerprint(),
        receive_key=receive.key.fingerprint(),
        keys=SrtpKeys(suite=name, send=send.keying(), receive=receive.keying(), directions=(send, receive)),
        sends=media.direction.sends,
        receives=media.direction.receives,
    )


def recognises(offer: str | None) -> bool:
    """Return whether *offer* has a MIKEY message; without an offer the keying says what is missing."""
    return offer is None or mentions(offer)


def unfit(offer: str, means: Means) -> PeerError | None:
    """Return why a plain RTP offer is refused: the stack's own refusal has no reason."""
    return None if "/SAVP" in offer else MediaNotSecured("an m-line is not SRTP", field="m=")


calling = TicketKeying.calling
called = TicketKeying.called
