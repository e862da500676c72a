"""The stack in Python without sockets: what comes in goes through its screen, transactions and calls."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from sipmikey.agent.asyncio_sip.binding import Binding
from sipmikey.agent.asyncio_sip.callee import CalleeSession
from sipmikey.agent.asyncio_sip.exchange import Means
from sipmikey.agent.asyncio_sip.presence.service import PresenceService
from sipmikey.agent.asyncio_sip.reception import Reception
from sipmikey.agent.asyncio_sip.referral import CallTransfers
from sipmikey.agent.asyncio_sip.session import House
from sipmikey.agent.asyncio_sip.session_table import SessionTable
from sipmikey.agent.asyncio_sip.wire.transactions import Transactions
from sipmikey.agent.config import AgentConfig, Sip
from sipmikey.agent.stack import Lane, OfferVerdict, Placement, StackError
from sipmikey.mikey.errors import SipmikeyError
from tests.agent.asyncio_sip.clock import Clock

_LONGER_THAN_TIMERS_S = 70.0


class _Flow:
    """A way to the peer on which everything is lost."""

    def __init__(self) -> None:
        self.transport = "udp"
        self.local, self.remote = ("192.0.2.1", 5060), ("192.0.2.2", 5060)

    def ping(self, *, answered: bool) -> None:
        """Nothing to keep open."""

    def send(self, octets: bytes) -> None:
        """Lose it."""


class _Anything:
    """Does nothing, whatever it is asked."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *values, **more: None


class _CallMedia(_Anything):
    def describe(self, sdp: str) -> str:
        return sdp

    def gather(self, indices: object, then: object, *, again: bool = False) -> bool:
        return False

    def another_peer(self, index: int, peer: object) -> bool:
        return False

    def counts(self) -> tuple[()]:
        return ()


class _Media:
    suites = ("AES_CM_128_HMAC_SHA1_80",)
    address = "192.0.2.1"
    shares_port = True

    def call(self, on_digit: object) -> _CallMedia:
        return _CallMedia()


class _Call(_Anything):
    """The owner of a call, who agrees to all. ``wrong``: what the stack told as an error of its own."""

    def __init__(self, wrong: list[BaseException]) -> None:
        self._wrong = wrong

    def on_local_sdp(self, sdp: str, remote: str) -> str:
        return sdp

    def on_remote_offer(self, sdp: str) -> OfferVerdict:
        return OfferVerdict()

    def on_transfer_requested(self, target: str) -> int:
        return 603

    def on_replacement_asked(self, invite: object, source: str, lane: Lane) -> int:
        return 403

    def on_failed(self, error: BaseException) -> None:
        if not isinstance(error, SipmikeyError):
            self._wrong.append(error)


class _Agent(_Anything):
    def __init__(self, wrong: list[BaseException]) -> None:
        self._wrong = wrong

    def on_invite(self, invite: object, source: str) -> Placement:
        return Placement(lane=Lane.CLEAR)

    def on_incoming(self, call: object, invite: object, source: str, lane: Lane) -> _Call:
        return _Call(self._wrong)


@contextlib.contextmanager
def _told(wrong: list[BaseException]) -> Iterator[None]:
    """Keep the log of the stack to ourselves, and note the exceptions in it."""

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                wrong.append(record.exc_info[1])

    log, notes = logging.getLogger("sipmikey.agent.asyncio_sip"), Notes()
    log.addHandler(notes)
    log.propagate = False
    try:
        yield
    finally:
        log.propagate = True
        log.removeHandler(notes)


def take(messages: list[bytes]) -> None:
    """Have a stack take *messages*, answer the calls among them, and wait until all timers are over.

    ``@tag@`` in a message stands for our tag in the latest call. Raises whatever went wrong in the stack.
    """
    wrong: list[BaseException] = []
    with _told(wrong):
        _take(messages, wrong)
    if wrong:
        raise wrong[0]


def _take(messages: list[bytes], wrong: list[BaseException]) -> None:
    clock, flow = Clock(), _Flow()
    config = AgentConfig(identity="sip:bob@example.com", sip=Sip(stack="python", calls_per_second=1e6))
    flows: Any = _Anything()
    flows.reach = lambda target, then, tried=frozenset(): then(flow, "")
    transactions = Transactions(clock.later)
    agent: Any = _Agent(wrong)
    media: Any = _Media()
    house = House(
        config=config,
        observer=agent,
        means=Means(
            sip=config.sip, flows=flows, transactions=transactions, user="bob", binding=Binding(config.sip)
        ),
        media=media,
        later=clock.later,
        board=SessionTable(),
        soon=lambda work: work(),
        from_thread=lambda work: work(),
        codecs=lambda: ("PCMA", "PCMU"),
        referrals=CallTransfers(),
        call=lambda *values: None,
    )
    presence = PresenceService(config, house.means, clock.later, lambda sighting: None)
    reception = Reception(house, flows, transactions, presence)
    way: Any = flow
    tag = b"x"
    for message in messages:
        reception.receive(message.replace(b"@tag@", tag), way)
        for session in tuple(house.board.living):
            tag = session.tag.encode()
            if isinstance(session, CalleeSession) and not session.confirmed:
                try:
                    session.answer(180)
                    session.answer(200)
                except StackError:
                    continue
    clock.pass_time(_LONGER_THAN_TIMERS_S)
