"""What the agent's process and a stack process say to each other: its form, its order, its limits."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent.config import AgentConfig, Audio, DigestCredentials, Sip, Transport
from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.channel import Channel, ChannelClosed
from sipmikey.agent.isolation.codec import CodecError, dump, load
from sipmikey.agent.stack import Lane, SrtpKeys, StackError, StackKeys, StreamCount
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.secret import Secret
from sipmikey.sip import SipMessage

CONFIG = AgentConfig(
    identity="sip:alice@example.com",
    sip=Sip(
        transports=(Transport.TLS,),
        trusted_proxies=frozenset({"192.0.2.1"}),
        headers={"X-A": "b"},
        credentials=DigestCredentials(username="alice", password=Secret(b"\xff\x00")),
    ),
    audio=Audio(play=Path("a.wav")),
)
KEYS = SrtpKeys(suite="S", send=Secret(b"\x00\xff" * 15), receive=Secret(b"r" * 30))
INVITE = "INVITE sip:bob@example.com SIP/2.0\r\nCSeq: 1 INVITE\r\nSubject: \udcff\u2028\r\n\r\nv=0\r\n"


def through_json(kind: Any, value: object) -> object:
    return load(kind, json.loads(json.dumps(dump(kind, value))))


@pytest.mark.parametrize(
    "message",
    [
        m.Start(
            config=CONFIG,
            keys=StackKeys(suites=("256",), over=("tls",)),
            ports={Transport.UDP: 5060},
            again=False,
            first=True,
            secret="s",
            contact="",
        ),
        m.MakeCall(call=1, uri="sip:b@x", lane=Lane.SECURED, headers=(("A", "b"),), via=None),
        m.Key(call=1, index=0, keys=KEYS),
        m.PlaceInvite(invite=SipMessage.parse(INVITE), source="192.0.2.1:5060"),
        m.CallFailed(call=2, error=m.Failure(detail="x", status=1)),
        m.Hold(),
    ],
)
def test_messages_come_back_as_they_were(message: Any) -> None:
    assert through_json(type(message), message) == message


@given(st.tuples(st.integers(), st.text(), st.integers(), st.integers(), st.integers()))
def test_counts_come_back(fields: tuple[int, str, int, int, int]) -> None:
    count = StreamCount(**dict(zip(("index", "codec", "sent", "received", "lost"), fields, strict=True)))  # type: ignore[arg-type]
    assert through_json(tuple[StreamCount, ...], (count,)) == (count,)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.sampled_from((*m.TO_STACK, *m.FROM_STACK)), JSON)
def test_other_data_is_refused_with_a_typed_error(kind: Any, data: Any) -> None:
    try:
        value = load(kind, data)
    except CodecError:
        return
    assert isinstance(value, kind)


def test_what_is_not_named_by_a_type_has_no_form() -> None:
    with pytest.raises(CodecError):
        load(m.Hangup, [1, True, []])
    with pytest.raises(CodecError):
        load(object, {})


@contextlib.contextmanager
def ends(
    agent: Callable[[Any], Any], stack: Callable[[Any], Any]
) -> Iterator[tuple[Channel, Channel, threading.Thread]]:
    """Two ends; that of the stack is served in a thread until the other is closed."""
    one, other = socket.socketpair()
    ours = Channel(one, m.FROM_STACK, agent, defer=False)
    theirs = Channel(other, m.TO_STACK, stack, defer=True)

    def serve() -> None:
        with contextlib.suppress(ChannelClosed):
            while True:
                theirs.receive(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield ours, theirs, thread
    finally:
        ours.close()
        thread.join(10)


def test_a_question_within_an_answer_is_answered_in_between() -> None:
    seen: list[str] = []

    def stack(message: Any) -> Any:
        seen.append(type(message).__name__)
        if isinstance(message, m.Answer):
            return theirs.ask(m.StreamCreated(call=1, index=0))
        return ()

    def agent(message: Any) -> Any:
        seen.append(type(message).__name__)
        return None if ours.ask(m.Counts(call=1)) == () else 1

    with ends(agent, stack) as (ours, theirs, _):
        assert ours.ask(m.Answer(call=1, status=200, sdp=None, headers=()), 10) is None
    assert seen == ["Answer", "StreamCreated", "Counts"]


def test_a_question_that_crosses_waits_for_the_answer_under_way() -> None:
    order: list[str] = []
    asked = threading.Event()

    def stack(message: Any) -> Any:
        order.append(type(message).__name__)
        if isinstance(message, m.Leave):
            asked.set()
            theirs.ask(m.StreamCreated(call=1, index=0))
            order.append("left")

    with ends(lambda message: None, stack) as (ours, theirs, _):
        ours.request(m.Leave(), lambda answer, error: None)
        # The stack waits for an answer by now: what is not part of giving that one has to wait.
        assert asked.wait(10)
        ours.ask(m.Hold(), 10)
    assert order == ["Leave", "left", "Hold"]


def test_errors_are_answers() -> None:
    def stack(message: Any) -> Any:
        if isinstance(message, m.Leave):
            raise AgentError(Reason.BUSY, "no", sip_status=486)
        if isinstance(message, m.Unkey):
            raise ValueError("not told: it may hold anything")
        raise StackError("refused", 70001)

    with ends(lambda message: None, stack) as (ours, _, _thread):
        with pytest.raises(AgentError) as busy:
            ours.ask(m.Leave(), 10)
        assert (busy.value.reason, busy.value.sip_status, str(busy.value)) == (Reason.BUSY, 486, "no")
        with pytest.raises(StackError, match=r"^ValueError$"):
            ours.ask(m.Unkey(call=1), 10)
        with pytest.raises(StackError) as refused:
            ours.ask(m.Counts(call=1), 10)
        assert refused.value.status == 70001


@pytest.mark.parametrize(
    "frame",
    [
        b"no JSON", b"[]", b"{}", b'[3,0,0,"Unheard",[]]', b'[0,1,0,"Counts",[]]', b'[3,0,0,"Played",[1]]',
        b'[3,"x",0,"Played",[]]', b'[1,77,0,"answer to nothing"]',
    ],
)  # fmt: skip
def test_nonsense_ends_the_connection(frame: bytes) -> None:
    one, other = socket.socketpair()
    channel = Channel(one, m.FROM_STACK, lambda message: None, defer=False)
    other.sendall(struct.pack("!I", len(frame)) + frame)
    other.close()
    with pytest.raises(ChannelClosed):
        channel.receive(10)


def test_a_frame_without_end_ends_the_connection() -> None:
    one, other = socket.socketpair()
    channel = Channel(one, m.FROM_STACK, lambda message: None, defer=False)
    other.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(ChannelClosed):
        channel.receive(10)


def test_a_process_that_does_not_answer_is_given_up() -> None:
    one, _other = socket.socketpair()
    channel = Channel(one, m.FROM_STACK, lambda message: None, defer=False)
    with pytest.raises(ChannelClosed):
        channel.ask(m.Leave(), 0.05)
    assert channel.closed


def test_the_other_side_is_woken_when_the_question_is_there_for_it() -> None:
    """Woken before, it could look, find nothing, and wait on: half a second, in a stack process."""
    one, other = socket.socketpair()
    channel = Channel(one, m.FROM_STACK, lambda message: None, defer=False)
    found = []
    with pytest.raises(ChannelClosed):
        channel.ask(m.Leave(), 0.05, wake=lambda: found.append(other.recv(4096, socket.MSG_DONTWAIT)))
    assert b"Leave" in found[0]
