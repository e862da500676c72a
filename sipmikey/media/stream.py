"""One RTP stream each way, protected: packets in, packets out. No I/O."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sipmikey.media.codecs.codec import Codec, frame_ticks
from sipmikey.media.context import SrtpContext
from sipmikey.media.early import EarlyMedia
from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.lesser.any_source import AnySourceReceiver
from sipmikey.media.lesser.clear import ClearReceiver, ClearSender
from sipmikey.media.rtcp.packets import Bye, RtcpPacket
from sipmikey.media.rtcp.reports import RTCP_INTERVAL_S, Reports, Sending
from sipmikey.media.rtp import MalformedPacket, Packetiser, RtpPacket, is_rtcp
from sipmikey.media.srtp import SrtpReceiver, SrtpSender
from sipmikey.media.statistics import ReceptionCount, ReceptionCounter, ReceptionStatistics
from sipmikey.media.voice.telephone_event import Digits, HeardDigits
from sipmikey.media.wav import FrameSource
from sipmikey.mikey.errors import LocalError

_PLAIN_HEADER = 0x80
_HEADER_LENGTH = 12
_START = struct.Struct("!BBHI")
_ONLY = "the peer"


class Source(Protocol):
    """Where outgoing frames come from."""

    def next_frame(self) -> bytes | None:
        """Return the next encoded frame, None after the last."""
        ...


class Sink(Protocol):
    """Where received frames go."""

    def put(self, timestamp: int, payload: bytes) -> None:
        """Take one authenticated frame."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """Counts of a stream so far.

    ``refused`` counts packets not accepted, by kind; ``diagnoses`` explains the first of each kind.
    ``held`` packets wait for a key, ``fitting`` tells how many of such each candidate opened.
    ``round_trip_ms`` is from the peer's last report, None without one.
    """

    sent: int
    reception: ReceptionStatistics
    refused: Mapping[SrtpError, int]
    diagnoses: tuple[str, ...]
    held: int
    held_dropped: int
    fitting: Mapping[str, int]
    rtcp_sent: int
    rtcp_received: int
    round_trip_ms: float | None
    peer_left: bool


class RtpStream:
    """Sends and receives one stream of speech, under SRTP unless `run_in_clear` is called.

    Fails closed: without a sending key nothing is sent, without a receiving key nothing is decoded. Packets
    that come before the key are held (`EarlyMedia`) and opened with candidates' keys only.

    ``on_refused`` is called with the first refusal of each kind, ``on_digit`` with each DTMF key heard.
    ``event_type_sent``, ``event_type_heard``: payload types of telephone events (RFC 4733), None for none.
    ``type_heard``: the payload type of the peer's packets, where that is not ours.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        cname: str,
        source: Source | None = None,
        sink: Sink | None = None,
        on_refused: Callable[[PacketRefused], object] | None = None,
        on_digit: Callable[[str], object] | None = None,
        rtcp_interval_s: float = RTCP_INTERVAL_S,
        rng: random.Random | None = None,
    ) -> None:
        self._codec = codec
        self.source = source
        self.sink = sink
        self.early = EarlyMedia()
        self.listening_to: str | None = None
        self._paused = False
        self._branches: dict[str, SrtpReceiver] = {}
        self._on_refused = on_refused
        self.on_digit = on_digit
        self.type_heard = codec.payload_type
        self.event_type_sent: int | None = None
        self.event_type_heard: int | None = None
        self._digits: Digits | None = None
        self._heard = HeardDigits()
        self._sent_before = (0, 0)
        self._event_timestamp = 0
        self._rng = rng or random.SystemRandom()
        self._sender: SrtpSender | ClearSender | None = None
        self._receiver: SrtpReceiver | AnySourceReceiver | ClearReceiver | None = None
        self._packetiser: Packetiser | None = None
        self._candidates: dict[str, StreamKey] = {}
        self._counter = ReceptionCounter(self._codec.clock_rate)
        self._malformed = 0
        self._reported: set[SrtpError] = set()
        self._reports = Reports(cname, self._rng, rtcp_interval_s)

    def send_with(self, key: StreamKey) -> None:
        """Send under *key* from the next packet on; the first key also fixes SSRC and sequence number."""
        self._paused = False
        if not isinstance(self._sender, SrtpSender) or key.ssrc != self._sender.key.ssrc:
            self._sender = SrtpSender(key)
            self._number(key.ssrc, self._rng.getrandbits(15) if key.seq is None else key.seq)
        elif key != self._sender.key:
            self._sender.rekey(key)

    def _number(self, ssrc: int, sequence: int) -> None:
        """Begin to number packets of *ssrc*, from *sequence* on."""
        self._sent_before = (0, 0)
        self._packetiser = Packetiser(
            ssrc=ssrc,
            payload_type=self.codec.payload_type,
            samples=frame_ticks(self.codec),
            sequence=sequence,
            timestamp=self._rng.getrandbits(32),
        )

    def run_in_clear(self, ssrc: int) -> None:
        """Send, as *ssrc*, and receive RTP without protection, where policy says so.

        Raises ``LocalError`` for a stream that has had a key: it never goes on without.
        """
        if isinstance(self._sender, SrtpSender) or isinstance(
            self._receiver, SrtpReceiver | AnySourceReceiver
        ):
            raise LocalError("a stream that has had a key does not go on in clear")
        if self._sender is None:
            self._sender = ClearSender(ssrc)
            self._number(ssrc, self._rng.getrandbits(15))
        self._paused = False
        self._receiver = self._receiver or ClearReceiver()

    def receive_from_any(self, key: StreamKey) -> None:
        """Receive under *key* from any SSRC, where descriptions do not name it; that of the key is not used.

        A key that replaces another overlaps with it. What was held before the first is dropped.
        """
        if isinstance(self._receiver, AnySourceReceiver):
            self._receiver.rekey(key)
        else:
            self._receiver = AnySourceReceiver(key)
            self.early.clear()

    @property
    def codec(self) -> Codec:
        """What the payload is; it may change while the stream runs, with ``source`` and ``sink``."""
        return self._codec

    @codec.setter
    def codec(self, codec: Codec) -> None:
        before, self._codec = self._codec, codec
        self.type_heard = codec.payload_type
        if codec.clock_rate != before.clock_rate and not self._counter.received:
            self._counter = ReceptionCounter(codec.clock_rate)
        if self._packetiser is not None and codec != before:
            self._number_on(codec.payload_type, frame_ticks(codec), self._packetiser.timestamp)

    def _number_on(self, payload_type: int, samples: int, timestamp: int) -> Packetiser:
        """Go on with packets of another kind, where those of the present kind have got to."""
        assert self._packetiser is not None
        self._sent_before = (self.sent, self._octets)
        self._packetiser = Packetiser(
            ssrc=self._packetiser.ssrc,
            payload_type=payload_type,
            samples=samples,
            sequence=self._packetiser.sequence,
            timestamp=timestamp,
        )
        return self._packetiser

    def new_ssrc(self) -> int:
        """Return a random SSRC, for the description that announces this stream."""
        return self._rng.getrandbits(32)

    def pause(self) -> None:
        """Send nothing and open nothing until there is a key again; what comes is held."""
        self._paused = True
        self._receiver = None
        self.listening_to = None

    def add_candidate(self, name: str, key: StreamKey) -> None:
        """Know the receiving key of one branch of the call (a To-tag), which may or may not be chosen."""
        self._candidates[name] = key

    def listen_to(self, name: str) -> None:
        """Receive from candidate *name* only, beginning with what it sent early.

        The other candidates' keys stay, to say whose a packet is that does not fit.
        """
        key = self._candidates.get(name)
        if key is None:
            raise LocalError(f"no candidate {name!r}")
        # A branch listened to before keeps its replay window.
        known = self._branches.get(name)
        if known is None or known.key != key:
            known = self._branches[name] = SrtpReceiver(key, candidates=self._candidates)
            self._counter = ReceptionCounter(self._codec.clock_rate)
        self._receiver, self.listening_to = known, name
        for held in self.early.take(name, key):
            self.receive(held.packet, held.arrival_ns)

    def choose(self, name: str) -> None:
        """Receive from candidate *name* for good: forget the other keys and what is held for them."""
        key = self._candidates.get(name)
        if not isinstance(self._receiver, SrtpReceiver) or key is not self._receiver.key:
            self.listen_to(name)
        self._candidates.clear()
        self._branches.clear()
        self.early.clear()

    def receive_with(self, key: StreamKey) -> None:
        """Receive under *key*: at once when it is the first, with overlap when it replaces another."""
        if not isinstance(self._receiver, SrtpReceiver):
            self.add_candidate(_ONLY, key)
            self.choose(_ONLY)
            return
        if key.ssrc != self._receiver.key.ssrc:
            self._counter = ReceptionCounter(self._codec.clock_rate)
        self._receiver.rekey(key)

    def next_packet(self) -> bytes | None:
        """Return the SRTP packet for this frame's turn, None without a key or a frame."""
        if self._sender is None or self.source is None or self._paused:
            return None
        return self.packet_of(self.source.next_frame())

    def packet_of(self, frame: bytes | None) -> bytes | None:
        """Return the SRTP packet with *frame*, whose turn it is, or with an event instead.

        None without a key or a frame. ``source`` is not asked.
        """
        sender, packetiser = self._sender, self._packetiser
        if sender is None or packetiser is None or self._paused:
            return None
        if self._digits is not None:
            return self._next_of_digits(self._digits, sender, packetiser)
        if frame is None:
            packetiser.skip()
            return None
        return sender.protect(packetiser.next_packet(frame))

    def send_digits(self, digits: str) -> None:
        """Send telephone events (RFC 4733) in place of the next frames. Raises ``LocalError``."""
        if self.event_type_sent is None:
            raise LocalError("the peer does not take telephone events (RFC 4733)")
        if self._digits is None:
            self._digits = Digits(frame_ticks(self._codec))
        self._digits.add(digits)

    def _next_of_digits(
        self, digits: Digits, sender: SrtpSender | ClearSender, packetiser: Packetiser
    ) -> bytes | None:
        """Return the next packet of an event, or None in the pause after one."""
        step = digits.next()
        ticks = frame_ticks(self._codec)
        if step.begins:
            self._event_timestamp = packetiser.timestamp
            packetiser = self._number_on(self.event_type_sent or 0, 0, packetiser.timestamp)
        packet = None if step.payload is None else sender.protect(packetiser.next_packet(step.payload))
        if step.ends:
            after = (self._event_timestamp + step.lasted) & 0xFFFF_FFFF
            packetiser = self._number_on(self._codec.payload_type, ticks, after)
        elif step.payload is None:
            packetiser.skip()
        if digits.over:
            self._digits = None
        return packet

    def receive(self, packet: bytes, arrival_ns: int) -> None:
        """Take a packet from the RTP or RTCP port; *arrival_ns* is Unix time. Never raises."""
        receiver = self._receiver
        if receiver is None:
            self.early.hold(packet, arrival_ns, rtcp=is_rtcp(packet))
            return
        try:
            if is_rtcp(packet):
                own = None if self._sender is None else self._sender.ssrc
                plain = receiver.unprotect_rtcp(packet)
                self._reports.take(plain, arrival_ns, own=own, counter=self._counter)
                return
            plain = receiver.unprotect(packet)
            if plain[0] == _PLAIN_HEADER:
                payload_type, payload = plain[1] & 0x7F, plain[_HEADER_LENGTH:]
            else:
                parsed = RtpPacket.parse(plain)
                payload_type, payload = parsed.payload_type, parsed.payload
        except PacketRefused as refused:
            if refused.error not in self._reported:
                self._reported.add(refused.error)
                if self._on_refused is not None:
                    self._on_refused(refused)
            return
        except MalformedPacket:
            self._malformed += 1
            return
        _, _, sequence, timestamp = _START.unpack_from(plain)
        self._counter.count(sequence, timestamp, len(payload), arrival_ns)
        if payload_type == self.type_heard:
            if self.sink is not None:
                self.sink.put(timestamp, payload)
        elif payload_type == self.event_type_heard:
            digit = self._heard.take(timestamp, payload, arrival_ns / 1e9)
            if digit and self.on_digit is not None:
                self.on_digit(digit)

    def report(self, now_ns: int) -> bytes | None:
        """Return a protected RTCP report when one is due at *now_ns* (Unix time), else None."""
        if self._sender is None or self._paused:
            return None
        if not self._reports.is_due(now_ns):
            return None
        return self._compound(now_ns)

    def bye(self, now_ns: int) -> bytes | None:
        """Return the protected RTCP packet that ends our stream, None if nothing was ever sent."""
        if self._sender is None or self._packetiser is None or not self.sent:
            return None
        return self._compound(now_ns, Bye(ssrcs=(self._packetiser.ssrc,)))

    def _compound(self, now_ns: int, *more: RtcpPacket) -> bytes | None:
        sender, packetiser = self._sender, self._packetiser
        if sender is None or packetiser is None:
            return None
        block = None
        if self._receiver is not None and self._counter.received:
            block = self._counter.report_block(self._receiver.ssrc, now_ns)
        sending = Sending(
            ssrc=packetiser.ssrc, timestamp=packetiser.timestamp, packets=self.sent, octets=self._octets
        )
        return sender.protect_rtcp(self._reports.make(sending, block, now_ns, *more))

    @property
    def peer_left(self) -> bool:
        """True after the peer's RTCP said BYE."""
        return self._reports.peer_left

    @property
    def steady_sender(self) -> tuple[SrtpContext, Packetiser, FrameSource] | None:
        """What the next packets are made with, where that needs no judgement; else None."""
        sender, packetiser, source = self._sender, self._packetiser, self.source
        if sender is None or packetiser is None or self._paused or not isinstance(source, FrameSource):
            return None
        if self._digits is not None:
            return None
        return None if sender.steady is None else (sender.steady, packetiser, source)

    @property
    def steady_receiver(self) -> tuple[SrtpContext, ReceptionCount] | None:
        """What the next packets are opened and counted with, where that needs no judgement; else None.

        Packets with telephone events need it always.
        """
        receiver = self._receiver
        if receiver is None or receiver.steady is None:
            return None
        return receiver.steady, self._counter.counts

    def follow(self, *, sent: int | None, received: int | None) -> None:
        """Go on after packet indices reached without this object; None where nothing was."""
        if sent is not None and self._sender is not None:
            self._sender.follow(sent)
        if received is not None and self._receiver is not None:
            self._receiver.follow(received)

    @property
    def position(self) -> tuple[int, int] | None:
        """(ROC, SEQ) of the next packet sent, as GENERIC-ID gives it; None before the first."""
        if self._sender is None or self._packetiser is None or self._sender.sequence is None:
            return None
        roc = self._sender.rollover_counter
        return roc + (self._packetiser.sequence < self._sender.sequence), self._packetiser.sequence

    @property
    def lost(self) -> int:
        """Packets expected and not received; negative when some were doubled."""
        return self._counter.expected - self._counter.received

    @property
    def received(self) -> int:
        """Packets authenticated and counted."""
        return self._counter.received

    @property
    def sent(self) -> int:
        """Packets protected for sending."""
        return self._sent_before[0] + (0 if self._packetiser is None else self._packetiser.packets)

    @property
    def _octets(self) -> int:
        return self._sent_before[1] + (0 if self._packetiser is None else self._packetiser.octets)

    def statistics(self) -> StreamReport:
        """Return the counts so far."""
        receiver, reports = self._receiver, self._reports
        refused = Counter({} if receiver is None else receiver.failures)
        if self._malformed:
            refused[SrtpError.MALFORMED] += self._malformed
        diagnoses = () if receiver is None else receiver.diagnoses.values()
        return StreamReport(
            sent=self.sent,
            reception=self._counter.statistics(),
            refused=dict(refused),
            diagnoses=tuple(f"{refusal.error}: {refusal.detail}" for refusal in diagnoses),
            held=len(self.early),
            held_dropped=self.early.dropped,
            fitting=dict(self.early.fitting),
            rtcp_sent=reports.sent,
            rtcp_received=reports.received,
            round_trip_ms=None if reports.round_trip_ns is None else reports.round_trip_ns / 1e6,
            peer_left=reports.peer_left,
        )
