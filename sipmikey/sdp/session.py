"""An established session: offers and answers of re-INVITE and UPDATE, from either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sipmikey.mikey.errors import LocalError, PeerError, UnexpectedMessage
from sipmikey.sdp.crypto import KeyExchange, session_keys
from sipmikey.sdp.errors import AnswerMissing, Glare, KeyMgmtMissing, MediaMismatch, OfferMissing
from sipmikey.sdp.keys import SessionKeys
from sipmikey.sdp.local import LocalDescription, local_answer, local_offer
from sipmikey.sdp.mapping import MediaStream, check_answer, keyed_streams
from sipmikey.sdp.origin import succeeding, with_origin_of
from sipmikey.sdp.remote import CarriedMessage, RemoteDescription
from sipmikey.sdp.sent_check import check_sent
from sipmikey.sdp.suite import SrtpSuite
from sipmikey.sdp.update import ReceivedUpdate, SentUpdate
from sipmikey.ticket.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a session, of either side: see `Offerer`."""

    suites: tuple[SrtpSuite, ...]
    allow_other_media: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """This side's offer under way. ``update`` is None for one that changes nothing."""

    own: LocalDescription
    update: SentUpdate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _PeerOffer:
    received: RemoteDescription
    updates: Mapping[int, ReceivedUpdate]


class Session:
    """The keys of an established call, and their update (RFC 6043 section 5.2).

    Made by `Offerer.choose` and `Answerer.session`. Either side may offer::

        sdp_to_send = session.make_offer(my_sdp)         session.receive_offer(received_sdp)
        session.check_sent(sdp_as_sent)                  sdp_to_send, keys = session.make_answer(my_sdp)
        keys = session.receive_answer(received_sdp)      session.check_sent(sdp_as_sent)

    An offer without *rekey* whose streams are keyed already repeats the attribute sent last, and no key
    changes. A stream that was added, or enabled again, or *rekey*, makes it a CSB update.

    The o= line of every description is the one this side sent first; its version counts the changes (RFC
    3264 section 8). *told* is the description this side made last.
    """

    def __init__(
        self,
        env: Environment,
        *,
        exchanges: Sequence[KeyExchange],
        theirs: tuple[MediaStream, ...],
        keys: SessionKeys,
        settings: Settings,
        told: str,
    ) -> None:
        self._env = env
        self._exchanges = tuple(exchanges)
        self._theirs = theirs
        self._keys = keys
        self._settings = settings
        self._offer: _Offer | None = None
        self._peer_offer: _PeerOffer | None = None
        self._made: str | None = None
        self._told = told

    @property
    def keys(self) -> SessionKeys:
        """The keys in force."""
        return self._keys

    @property
    def may_rekey(self) -> bool:
        """True where the ticket lets this side give new keys: L for the caller, M for the callee."""
        if len(self._exchanges) != 1:
            return False
        bundle = self._exchanges[0].bundle
        flags = bundle.policy.flags
        return flags.initiator_keys if bundle.is_initiator else flags.responder_keys

    def make_offer(self, sdp: str, *, rekey: bool = False, ssrcs: Mapping[int, int] | None = None) -> str:
        """Return *sdp* as an offer within the session.

        *rekey* sends a new TGK, which the ticket must allow this side (L for the caller, M for the callee).
        *ssrcs* are those of m-lines that are new or enabled again. An offer of the peer that was not answered
        is over. Raises `LocalError`, also while another offer of this side is under way.
        """
        self._check_open()
        if self._offer is not None:
            raise LocalError("an offer of this side is under way: finish or abandon it first")
        self._peer_offer = None
        own = local_offer(
            sdp,
            allow_other_media=self._settings.allow_other_media,
            max_bytes=self._env.limits.message_bytes,
        )
        new = [stream for stream in own.keyed if stream.index not in self._running()]
        update = None
        if rekey or new:
            exchange = self._only_exchange()
            # Where the peer put its attributes at media level, this side does the same.
            levels = (None,) if None in exchange.levels else tuple(stream.index for stream in own.keyed)
            update = SentUpdate.start(
                self._env,
                replace(exchange, levels=levels),
                new=new,
                ssrcs=ssrcs,
                rekey=rekey,
                protocols=own.protocols,
            )
            messages = [(level, update.message) for level in levels]
        else:
            messages = self._repeated()
        self._offer = _Offer(own=own, update=update)
        return self._tell(own.carrying(messages))

    def _tell(self, made: str) -> str:
        """Return *made* with the o= line that follows that of the description before it."""
        self._made = self._told = succeeding(made, self._told)
        return self._made

    def _check_open(self) -> None:
        if not self._exchanges:
            raise LocalError("the session is closed")

    def _running(self) -> frozenset[int]:
        return frozenset(item.index for item in self._keys.media)

    def _only_exchange(self) -> KeyExchange:
        if len(self._exchanges) != 1:
            raise LocalError("the caller keyed each stream by itself: only it can update the keys")
        return self._exchanges[0]

    def _repeated(self) -> list[tuple[int | None, bytes]]:
        return [(level, item.sent) for item in self._exchanges for level in item.levels]

    def receive_answer(self, sdp: str | None) -> SessionKeys:
        """Take the answer to `make_offer` and return the keys from now on.

        Raises a `PeerError`; the keys are then what they were, and the offer is over.
        """
        offer = self._offer
        if offer is None:
            raise LocalError("there is no offer under way")
        self._offer = None
        if sdp is None:
            raise AnswerMissing("the response carries no SDP", field="SDP")
        received = RemoteDescription.parse(sdp, max_bytes=self._env.limits.message_bytes)
        check_answer(offer.own.streams, received.streams)
        keyed = keyed_streams(received.streams, allow_other=self._settings.allow_other_media)
        if offer.update is None:
            for carried in self._carried(received, keyed):
                self._same_as_before(carried)
            exchanges = self._exchanges
        else:
            message = received.only_message(keyed)
            exchanges = (offer.update.receive(message, self._settings.suites),)
        return self._commit(exchanges, offer.own.streams, received.streams)

    def _carried(
        self, received: RemoteDescription, keyed: Sequence[MediaStream]
    ) -> tuple[CarriedMessage, ...]:
        # A peer need not repeat its attribute where nothing changes.
        return received.carried(keyed) if received.has_mikey else ()

    def _same_as_before(self, carried: CarriedMessage) -> KeyExchange:
        for exchange in self._exchanges:
            if carried.message == exchange.received and set(carried.covers) <= exchange.pairs.keys():
                return exchange
        raise UnexpectedMessage("the answer changes keys although the offer did not", field="key-mgmt")

    def receive_offer(self, sdp: str | None) -> bool:
        """Check an offer of the peer; return whether it changes keys.

        Raises a `PeerError` to refuse it, `Glare` (491) while an offer of this side is under way. An earlier
        offer that was not answered is over.
        """
        self._check_open()
        if self._offer is not None:
            raise Glare("an offer of this side is under way", section="RFC 3261 section 14.2")
        self._peer_offer = None
        if sdp is None:
            raise OfferMissing("the re-INVITE carries no offer; send it again with SDP", field="SDP")
        received = RemoteDescription.parse(sdp, max_bytes=self._env.limits.message_bytes)
        self._check_places(received)
        keyed = keyed_streams(received.streams, allow_other=True)
        updates: dict[int, ReceivedUpdate] = {}
        for carried in self._carried(received, keyed):
            number = self._number_of(carried)
            if number is not None:
                updates[number] = ReceivedUpdate(
                    self._env,
                    self._exchanges[number],
                    carried,
                    suites=self._settings.suites,
                    protocols=received.protocols,
                )
        self._check_covered(keyed, updates)
        self._peer_offer = _PeerOffer(received=received, updates=updates)
        return bool(updates)

    def _check_places(self, received: RemoteDescription) -> None:
        if len(received.streams) < len(self._theirs):
            raise MediaMismatch(
                f"{len(received.streams)} m-lines, there were {len(self._theirs)}",
                field="m=",
                section="RFC 3264 section 8",
            )

    def _number_of(self, carried: CarriedMessage) -> int | None:
        """Return which exchange a message updates, or None when it repeats that of one."""
        for exchange in self._exchanges:
            if carried.message == exchange.received:
                if not set(carried.covers) <= exchange.pairs.keys():
                    raise KeyMgmtMissing("a stream was added without keys for it", field="key-mgmt")
                return None
        for number, exchange in enumerate(self._exchanges):
            if exchange.pairs.keys() & set(carried.covers):
                return number
        if len(self._exchanges) == 1:
            return 0
        raise UnexpectedMessage("is for streams of no exchange of this session", field="key-mgmt")

    def _check_covered(self, keyed: Sequence[MediaStream], updates: Mapping[int, ReceivedUpdate]) -> None:
        # A stream enabled again restarts its packet counters: with the old keys and SSRC that would reuse
        # key stream, so it needs an update, which gives it new SSRCs.
        updated = {index for update in updates.values() for index in update.covers}
        for stream in keyed:
            if stream.index not in self._running() and stream.index not in updated:
                raise KeyMgmtMissing(f"{stream.name} was added without keys for it", field="key-mgmt")

    def make_answer(self, sdp: str, *, ssrcs: Mapping[int, int] | None = None) -> tuple[str, SessionKeys]:
        """Return *sdp* as the answer to `receive_offer`, and the keys from now on. Raises `LocalError`."""
        offer = self._peer_offer
        if offer is None:
            raise LocalError("no offer of the peer is under way")
        own = local_answer(
            sdp,
            offer.received.document,
            allow_other_media=self._settings.allow_other_media,
            max_bytes=self._env.limits.message_bytes,
        )
        try:
            check_answer(offer.received.streams, own.streams)
        except PeerError as error:
            raise LocalError(f"this side's answer: {error}") from error
        exchanges = tuple(
            offer.updates[number].respond(
                own=own.keyed, theirs=offer.received.streams, running=self._running(), ssrcs=ssrcs
            )
            if number in offer.updates
            else exchange
            for number, exchange in enumerate(self._exchanges)
        )
        self._peer_offer = None
        keys = self._commit(exchanges, own.streams, offer.received.streams)
        return self._tell(own.carrying(self._repeated())), keys

    def _commit(
        self,
        exchanges: tuple[KeyExchange, ...],
        own: tuple[MediaStream, ...],
        theirs: tuple[MediaStream, ...],
    ) -> SessionKeys:
        keys = session_keys(
            exchanges,
            own,
            theirs,
            called=self._keys.called,
            ticket_id=self._keys.ticket_id,
            before=self._keys,
        )
        self._exchanges, self._theirs, self._keys = exchanges, theirs, keys
        return keys

    def abandon(self) -> None:
        """Drop the exchange under way, in either direction: it was refused (491, 488) or timed out."""
        self._offer = None
        self._peer_offer = None

    def check_sent(self, sdp: str) -> None:
        """Raise `SentSdpAltered` unless *sdp*, as sent, carries what this side made last."""
        if self._made is None:
            raise LocalError("there is no description to compare with")
        check_sent(self._made, sdp, max_bytes=self._env.limits.message_bytes)
        self._told = with_origin_of(self._told, sdp)

    def close(self) -> None:
        """Forget every key."""
        self._exchanges = ()
        self.abandon()
        self._made = None
        self._told = ""
        self._keys = replace(self._keys, media=())
