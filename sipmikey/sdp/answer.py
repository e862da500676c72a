"""The callee: early checks, the question to the KMS, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sipmikey.mikey.errors import InvalidIdentity, LocalError, PeerError
from sipmikey.sdp.crypto import session_keys
from sipmikey.sdp.errors import IdentityMismatch, OfferMissing
from sipmikey.sdp.incoming_transfer import IncomingTransfer
from sipmikey.sdp.keys import ReceivedOffer, SessionKeys
from sipmikey.sdp.local import known_ssrcs, local_answer
from sipmikey.sdp.mapping import check_answer, keyed_streams
from sipmikey.sdp.remote import RemoteDescription
from sipmikey.sdp.sent_check import check_sent
from sipmikey.sdp.session import Session, Settings
from sipmikey.sdp.suite import DEFAULT_SUITES, SrtpSuite
from sipmikey.ticket.base_ticket import ticket_id
from sipmikey.ticket.credentials import ClientCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.request import canonical_or_same
from sipmikey.ticket.resolve import ResolvedTicket
from sipmikey.ticket.shared_keys import SharedTicketKey


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    text: str
    session: Session


class Answerer:
    """The MIKEY Responder of one call.

    ::

        answerer = Answerer(env, identities=["sip:bob@example.org"])
        offered = answerer.receive_offer(invite_sdp, sip_caller=from_or_p_asserted_identity)
        while answerer.unresolved:
            answerer.receive_resolve_resp(ask_the_kms(answerer.make_resolve_init(credential)))
        sdp_to_send, keys = answerer.make_answer(my_sdp)
        answerer.check_sent(sdp_as_sent)
        session = answerer.session

    *identities* are this side's SIP URIs; the one that was called, or else the first, asks the KMS. *suites*
    are those accepted. *kmss* are the KMSs whose tickets are accepted (None: any; the KMS that is asked must
    still know the ticket). *replay* is the cache all calls of this agent share; without one, a repeated
    offer is noticed only where the KMS refuses it. *allow_other_media* is as with `Offerer`.
    """

    def __init__(
        self,
        env: Environment,
        *,
        identities: Sequence[str],
        suites: Sequence[SrtpSuite | str] = DEFAULT_SUITES,
        kmss: Collection[str] | None = None,
        replay: ReplayCache | None = None,
        allow_other_media: bool = False,
    ) -> None:
        if not identities:
            raise LocalError("an answerer has at least one identity")
        self._env = env
        self._identities = tuple(canonical(identity) for identity in identities)
        self._kmss = None if kmss is None else frozenset(canonical(kms) for kms in kmss)
        self._replay = replay
        self._settings = Settings(
            suites=tuple(SrtpSuite(suite) for suite in suites), allow_other_media=allow_other_media
        )
        self._offer: RemoteDescription | None = None
        self._transfers: tuple[IncomingTransfer, ...] = ()
        self._answered: _Answered | None = None

    def receive_offer(self, sdp: str | None, *, sip_caller: str) -> ReceivedOffer:
        """Check an offer as far as that goes without the KMS. Raises a `PeerError` to refuse it.

        *sip_caller* is the SIP identity of the caller: P-Asserted-Identity from a trusted proxy, else From.
        *sdp* None (an INVITE without offer) is `OfferMissing`. Checked are the attributes, the m-lines, the
        ticket's policy and validity, the suites, the protocol list (`BiddingDown`) and that the MIKEY
        Initiator is the SIP caller (`IdentityMismatch`).
        """
        if self._offer is not None:
            raise LocalError("an offer has been received: make a new Answerer for a new call")
        if sdp is None:
            raise OfferMissing("the INVITE carries no offer; send it again with SDP", field="SDP")
        received = RemoteDescription.parse(sdp, max_bytes=self._env.limits.message_bytes)
        # RFC 4567 allows plain RTP m-lines beside secured ones; here a session is secured whole or refused.
        keyed = keyed_streams(received.streams, allow_other=True)
        transfers = tuple(
            IncomingTransfer.read(
                self._env,
                carried,
                protocols=received.protocols,
                identities=self._identities,
                suites=self._settings.suites,
            )
            for carried in received.carried(keyed)
        )
        for transfer in transfers:
            self._check_parties(transfer, sip_caller)
        self._offer, self._transfers = received, transfers
        return self._offered(transfers[0])

    def _check_parties(self, transfer: IncomingTransfer, sip_caller: str) -> None:
        try:
            caller = canonical(sip_caller)
            initiator = canonical(transfer.initiator)
        except LocalError as error:
            raise IdentityMismatch(str(error), field="IDRi") from None
        if caller != initiator:
            raise IdentityMismatch(f"{initiator} offers keys in a call from {caller}", field="IDRi")
        kms = transfer.policy.kms
        if self._kmss is not None and (kms is None or canonical_or_same(kms) not in self._kmss):
            raise InvalidIdentity(f"the ticket is from {kms}, a KMS that is not trusted here", field="IDRkms")

    def _offered(self, transfer: IncomingTransfer) -> ReceivedOffer:
        return ReceivedOffer(
            caller=canonical(transfer.initiator),
            called=canonical_or_same(transfer.called),
            kms=transfer.policy.kms,
            ticket_id=ticket_id(transfer.ticket),
            timestamp=transfer.timestamp,
            suites=tuple(suite.value for suite in transfer.offered_suites),
        )

    @property
    def unresolved(self) -> int:
        """How many tickets are still to be resolved: 1 after an ordinary offer, 0 when all are."""
        return sum(not transfer.verified for transfer in self._transfers)

    def _next(self) -> IncomingTransfer:
        for transfer in self._transfers:
            if not transfer.verified:
                return transfer
        raise LocalError("no ticket waits to be resolved")

    def make_resolve_init(self, credential: ClientCredential, *, kms: str | None = None) -> bytes:
        """Return the RESOLVE_INIT for the next unresolved ticket.

        *kms* is the identity of the KMS that will be asked, by default the one the ticket names.
        """
        return self._next().make_resolve_init(credential, kms=kms)

    def receive_resolve_resp(self, response: bytes) -> ResolvedTicket:
        """Take the RESOLVE_RESP, and verify TRANSFER_INIT with the keys in it. Raises a `PeerError`.

        The result may be kept for a ticket that allows reuse, and given to `use_resolved` when the same
        ticket comes again.
        """
        resolved = self.open_resolve_resp(response)
        self.use_resolved(resolved)
        return resolved

    def open_resolve_resp(self, response: bytes) -> ResolvedTicket:
        """Take only the RESOLVE_RESP, for `use_resolved`: an error in it is the KMS's fault.

        Raises a `PeerError`.
        """
        return self._next().receive_resolve_resp(response)

    @property
    def resolve_mandatory(self) -> bool:
        """True if the KMS must be asked about the next unresolved ticket (RFC 6043 section 6.10, E)."""
        return self._next().resolve_mandatory

    def resolve_with(self, keys: Sequence[SharedTicketKey]) -> ResolvedTicket:
        """Open the next unresolved ticket with a key its maker shares with us, and verify TRANSFER_INIT.

        Modes 2 and 4 of RFC 6043 section 4.1.1. Raises a `PeerError`; `UnknownKey` where no key fits.
        """
        transfer = self._next()
        resolved = transfer.resolve_with(keys)
        transfer.verify(resolved, self._replay)
        return resolved

    def use_resolved(self, resolved: ResolvedTicket) -> None:
        """Verify TRANSFER_INIT with a ticket resolved before or locally. Raises a `PeerError`."""
        self._next().verify(resolved, self._replay)

    def make_answer(self, sdp: str, *, ssrcs: Mapping[int, int] | None = None) -> tuple[str, SessionKeys]:
        """Return *sdp* as the answer, with TRANSFER_RESP, and the keys. *ssrcs* as in `Offerer.make_offer`.

        To repeat an answer (183 and then 200), send the same text again. Raises `LocalError`, and a
        `PeerError` when a key that the offer names does not fit its policy.
        """
        offer = self._offer
        if offer is None:
            raise LocalError("make_answer: no offer of the caller was received")
        if self.unresolved:
            raise LocalError("make_answer: the ticket in the caller's offer is not resolved")
        if self._answered is not None:
            raise LocalError("make_answer: the caller's offer has been answered: send the same answer again")
        own = local_answer(
            sdp,
            offer.document,
            allow_other_media=self._settings.allow_other_media,
            max_bytes=self._env.limits.message_bytes,
        )
        try:
            check_answer(offer.streams, own.streams)
        except PeerError as error:
            raise LocalError(f"this side's answer: {error}") from error
        known = known_ssrcs(own.keyed, ssrcs)
        exchanges = tuple(transfer.respond(known, offer.streams) for transfer in self._transfers)
        text = own.carrying((level, item.sent) for item in exchanges for level in item.levels)
        keys = session_keys(
            exchanges,
            own.streams,
            offer.streams,
            called=self._transfers[0].called,
            ticket_id=ticket_id(self._transfers[0].ticket),
            before=None,
        )
        session = Session(
            self._env,
            exchanges=exchanges,
            theirs=offer.streams,
            keys=keys,
            settings=self._settings,
            told=text,
        )
        self._answered = _Answered(text=text, session=session)
        return text, keys

    def check_sent(self, sdp: str) -> None:
        """Raise `SentSdpAltered` unless *sdp*, as it was sent, still carries the answer made."""
        check_sent(self._done().text, sdp, max_bytes=self._env.limits.message_bytes)

    def _done(self) -> _Answered:
        if self._answered is None:
            raise LocalError("there is no answer yet")
        return self._answered

    @property
    def session(self) -> Session:
        """The session for later offers, once there is an answer."""
        return self._done().session

    def close(self) -> None:
        """Forget every key."""
        self._offer = None
        self._transfers = ()
        self._answered = None
