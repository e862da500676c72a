"""CSB updates of an established exchange (RFC 6043 section 5.2): sent and received."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.verification import sdp_ids_extension
from sipmikey.sdp.crypto import (
    KeyExchange,
    check_spi,
    check_suite,
    choose_policy,
    completed,
    preferred_spi,
    with_ssrc,
)
from sipmikey.sdp.errors import MediaMismatch
from sipmikey.sdp.local import choose_ssrcs, random_ssrc
from sipmikey.sdp.mapping import MediaStream, crypto_session_ids, pair_sessions
from sipmikey.sdp.protocols import check_protocols
from sipmikey.sdp.remote import CarriedMessage
from sipmikey.sdp.suite import SrtpSuite
from sipmikey.ticket.base_ticket import SPI_LENGTH
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.update import UpdateInitiator, UpdateResponder


def _new_key(env: Environment, exchange: KeyExchange) -> KeyData:
    taken = {key.spi for key in exchange.bundle.keys}
    spi = env.random(SPI_LENGTH)
    while spi in taken:
        spi = env.random(SPI_LENGTH)
    length = exchange.bundle.suite.key_length
    return KeyData(key_type=KeyDataType.TGK, key=Secret(env.random(length)), spi=spi)


def _without_counters(entry: GenericIdEntry) -> GenericIdEntry:
    """Return the crypto session without ROC and SEQ: a running session keeps its counters."""
    data = SrtpSessionData.of(entry)
    return entry if data is None else with_ssrc(entry, data.ssrc)


class SentUpdate:
    """An update this side started. ``message`` is its TRANSFER_INIT."""

    def __init__(
        self,
        update: UpdateInitiator,
        exchange: KeyExchange,
        pairs: Mapping[int, tuple[int, int]],
        ssrcs: Mapping[int, int],
    ) -> None:
        self._update = update
        self._exchange = exchange
        self._pairs = pairs
        self._ssrcs = ssrcs
        self.message = update.message

    @classmethod
    def start(
        cls,
        env: Environment,
        exchange: KeyExchange,
        *,
        new: Sequence[MediaStream],
        ssrcs: Mapping[int, int] | None,
        rekey: bool,
        protocols: tuple[str, ...],
    ) -> SentUpdate:
        """Offer two crypto sessions for each *new* m-line, and new keys for all if *rekey*.

        *protocols* are the key management protocols that the description lists.

        Raises `LocalError` where the ticket forbids this side to give keys, or CS IDs are taken.
        """
        bundle = exchange.bundle
        chosen = _fresh_ssrcs(env, exchange, new, ssrcs)
        pairs = dict(exchange.pairs)
        for stream in new:
            pairs[stream.index] = _free_pair(exchange, stream)
        again = {cs_id for stream in new for cs_id in pairs[stream.index]}
        keys = (_new_key(env, exchange),) if rekey else ()
        spi = preferred_spi((*bundle.keys, *keys))
        entries = [
            replace(_without_counters(entry), spi=spi if rekey else entry.spi)
            for entry in bundle.entries
            if entry.cs_id not in again
        ]
        policy = bundle.entries[0].policies
        for stream in new:
            forward, backward = pairs[stream.index]
            own, other = (forward, backward) if bundle.is_initiator else (backward, forward)
            entry = GenericIdEntry(cs_id=own, policies=policy, spi=spi)
            entries.append(with_ssrc(entry, chosen[stream.index]))
            entries.append(GenericIdEntry(cs_id=other, policies=policy))
        update = UpdateInitiator.start(
            env,
            bundle,
            crypto_sessions=sorted(entries, key=lambda entry: entry.cs_id),
            extensions=[sdp_ids_extension(protocols)],
            keys=keys,
        )
        own_ssrcs = {
            index: ssrc for index in exchange.pairs if (ssrc := exchange.own_ssrc(index)) is not None
        }
        return cls(update, exchange, pairs, own_ssrcs | chosen)

    def receive(self, message: bytes, suites: Sequence[SrtpSuite]) -> KeyExchange:
        """Verify TRANSFER_RESP and return the updated exchange. Raises a `PeerError`."""
        updated = replace(
            self._exchange,
            pairs=self._pairs,
            bundle=self._update.receive(message),
            sent=self.message,
            received=message,
        )
        for session in updated.bundle.crypto_sessions:
            check_suite(session, suites)
        for index, ssrc in self._ssrcs.items():
            if updated.own_ssrc(index) not in (ssrc, None):
                raise MediaMismatch(
                    "the answer changes the SSRC this side sends with",
                    field=f"CS ID {updated.own_cs_id(index)}",
                )
        return updated


def _fresh_ssrcs(
    env: Environment, exchange: KeyExchange, started: Sequence[MediaStream], given: Mapping[int, int] | None
) -> dict[int, int]:
    """Return the SSRCs of streams that start now, none of them one the stream had before.

    A stream that starts again counts its packets from the beginning: with the old key and SSRC that would
    reuse key stream. Raises `LocalError` for such an SSRC among those *given*.
    """
    used = {
        stream.index: exchange.own_ssrc(stream.index) for stream in started if stream.index in exchange.pairs
    }
    for index, ssrc in (given or {}).items():
        if ssrc == used.get(index):
            raise LocalError(f"m-line {index + 1} starts again and needs another SSRC than before")
    free = tuple(
        replace(stream, ssrc=None) if stream.ssrc == used.get(stream.index) else stream for stream in started
    )
    return choose_ssrcs(env, free, given)


def _free_pair(exchange: KeyExchange, stream: MediaStream) -> tuple[int, int]:
    if stream.index in exchange.pairs:
        return exchange.pairs[stream.index]
    pair = crypto_session_ids(stream.index)
    taken = {cs_id for used in exchange.pairs.values() for cs_id in used}
    if taken.intersection(pair):
        raise LocalError(f"{stream.name}: the peer uses its crypto sessions for another m-line")
    return pair


class ReceivedUpdate:
    """An update of the peer, verified. ``covers`` are the m-lines it has keys for."""

    def __init__(
        self,
        env: Environment,
        exchange: KeyExchange,
        carried: CarriedMessage,
        *,
        suites: Sequence[SrtpSuite],
        protocols: tuple[str, ...],
    ) -> None:
        """Parse and verify. *protocols* are those that SDP lists. Raises a `PeerError`."""
        self._env = env
        self._exchange = exchange
        self._carried = carried
        self._suites = suites
        self._update = UpdateResponder(env, exchange.bundle, carried.message)
        check_protocols(self._update.extensions, protocols)
        self._entries = {entry.cs_id: entry for entry in self._update.crypto_sessions}
        self._pairs = dict(exchange.pairs) | self._paired()
        self.covers = carried.covers
        for index in carried.covers:
            for cs_id in self._pairs[index]:
                choose_policy(self._entries[cs_id], self._update.policies, suites)
                check_spi(self._entries[cs_id], self._update.session_keys)
            self._check_own_ssrc(index)

    def _check_own_ssrc(self, index: int) -> None:
        if index not in self._exchange.pairs:
            return
        cs_id = self._exchange.own_cs_id(index)
        said = SrtpSessionData.of(self._entries[cs_id])
        if said is not None and said.ssrc != self._exchange.own_ssrc(index):
            raise MediaMismatch("the offer changes the SSRC this side sends with", field=f"CS ID {cs_id}")

    def _paired(self) -> dict[int, tuple[int, int]]:
        known = self._exchange.pairs
        kept = {index: known[index] for index in self._carried.covers if index in known}
        for index, pair in kept.items():
            if not self._entries.keys() >= set(pair):
                raise MediaMismatch(
                    f"m-line {index + 1} has lost its crypto sessions", field="CS ID map info"
                )
        added = tuple(index for index in self._carried.covers if index not in known)
        taken = {cs_id for pair in known.values() for cs_id in pair}
        free = tuple(cs_id for cs_id in self._entries if cs_id not in taken)
        return kept | (pair_sessions(free, added) if added else {})

    def respond(
        self,
        *,
        own: Sequence[MediaStream],
        theirs: Sequence[MediaStream],
        running: frozenset[int],
        ssrcs: Mapping[int, int] | None,
    ) -> KeyExchange:
        """Make TRANSFER_RESP and return the updated exchange.

        *own* are this side's active m-lines, *running* those that had keys before.
        """
        exchange, bundle = self._exchange, self._exchange.bundle
        started = [stream for stream in own if stream.index not in running]
        chosen = _fresh_ssrcs(self._env, exchange, started, ssrcs)
        spi = preferred_spi(self._update.session_keys)
        entries: dict[int, GenericIdEntry] = {}
        for index, pair in self._pairs.items():
            sides = pair if bundle.is_initiator else pair[::-1]
            for cs_id, mine in zip(sides, (True, False), strict=True):
                if cs_id not in self._entries:
                    continue
                entry = self._entries[cs_id]
                ssrc = self._ssrc(index, mine, chosen, theirs)
                if mine and index in chosen:
                    entry = with_ssrc(entry, ssrc)
                choice = choose_policy(entry, self._update.policies, self._suites)
                policy = bundle.entries[0].policies[0] if choice is None else choice[0]
                entries[cs_id] = completed(entry, policy=policy, ssrc=ssrc, spi=spi)
        message, updated = self._update.respond(crypto_sessions=[entries[cs_id] for cs_id in sorted(entries)])
        return replace(
            exchange,
            levels=self._carried.levels,
            pairs=self._pairs,
            bundle=updated,
            sent=message,
            received=self._carried.message,
        )

    def _ssrc(self, index: int, mine: bool, chosen: Mapping[int, int], theirs: Sequence[MediaStream]) -> int:
        known = chosen.get(index) if mine else theirs[index].ssrc
        return random_ssrc(self._env) if known is None else known
