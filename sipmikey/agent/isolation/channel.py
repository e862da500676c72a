"""One end of the socket between the agent's process and a stack process: questions, answers, notices.

A frame is its length in four octets, and a JSON list. Each side may ask while it answers: a question may need
further questions before its answer, as nested function calls do.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sipmikey.agent.isolation.codec import CodecError, dump, load
from sipmikey.agent.isolation.messages import Failure, Notice, Question
from sipmikey.agent.stack import StackError
from sipmikey.call.reasons import AgentError, Reason, reason_of, side_of, status_of
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sdp.errors import SentSdpAltered

_LENGTH = struct.Struct("!I")
_LONGEST = 1 << 20
_READ = 1 << 16

_QUESTION, _ANSWER, _ERROR, _NOTICE = range(4)
_LOCAL = LocalError.__name__


class ChannelClosed(StackError):
    """The other process is gone, does not answer, or sends what is not of the protocol."""


class Channel:
    """*sock* is connected to the other process, which says what *incoming* names.

    *handle* takes each message and returns the answer. Where *defer*, a question that the other side did not
    ask while answering one of ours waits until ours is answered; else it is answered in between.
    """

    def __init__(
        self,
        sock: socket.socket,
        incoming: tuple[type[Notice | Question], ...],
        handle: Callable[[Any], Any],
        *,
        defer: bool,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._kinds = {kind.__name__: kind for kind in incoming}
        self._handle = handle
        self._defer = defer
        self._buffer = bytearray()
        self._number = 0
        self._answering: list[int] = []
        self._asking: list[int] = []
        self._answers: dict[int, tuple[int, Any]] = {}
        self._later: dict[int, Callable[[Any, Exception | None], None]] = {}
        self._kinds_asked: dict[int, Any] = {}
        self._deferred: deque[list[Any]] = deque()
        self.closed = False

    def fileno(self) -> int:
        """Return the number of the socket, to wait on."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket. Questions under way get no answer."""
        self.closed = True
        self._sock.close()

    @property
    def answering(self) -> bool:
        """True while the other side waits for an answer of ours."""
        return bool(self._answering)

    def tell(self, notice: Notice) -> None:
        """Send a notice. Raises ``ChannelClosed``."""
        self._send([_NOTICE, 0, 0, type(notice).__name__, dump(type(notice), notice)])

    def ask(
        self, question: Question, timeout_s: float | None = None, *, wake: Callable[[], None] | None = None
    ) -> Any:
        """Send a question and return its answer. *wake*: done once it is sent, to end the other's waiting.

        Raises the error that is the answer (``StackError``, ``AgentError``, ``LocalError``), or
        ``ChannelClosed``, also when none comes within *timeout_s*.
        """
        number = self._put(question)
        if wake is not None:
            wake()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._asking.append(number)
        try:
            while number not in self._answers:
                frame = self._frame(deadline)
                if frame is None:
                    self.closed = True
                    raise ChannelClosed("the stack process does not answer")
                self._take(frame)
        finally:
            self._asking.pop()
        kind, data = self._answers.pop(number)
        return self._read_answer(kind, data, type(question).answer)

    def request(self, question: Question, done: Callable[[Any, Exception | None], None]) -> None:
        """Send a question; `receive` calls *done* with its answer, or the error."""
        number = self._put(question)
        self._later[number] = done
        self._kinds_asked[number] = type(question).answer

    def receive(self, wait_s: float = 0.0) -> None:
        """Handle what has arrived, and wait at most *wait_s* for the first. Raises ``ChannelClosed``."""
        while self._deferred:
            self._take(self._deferred.popleft())
        deadline = time.monotonic() + wait_s
        while (frame := self._frame(deadline)) is not None:
            self._take(frame)
            deadline = 0.0
            while self._deferred:
                self._take(self._deferred.popleft())

    def _put(self, question: Question) -> int:
        self._number += 1
        within = self._answering[-1] if self._answering else 0
        name, data = type(question).__name__, dump(type(question), question)
        self._send([_QUESTION, self._number, within, name, data])
        return self._number

    def _take(self, frame: list[Any]) -> None:
        kind, number, within, *rest = frame
        if kind in (_ANSWER, _ERROR):
            if (done := self._later.pop(number, None)) is None:
                self._answers[number] = (kind, rest[0])
                return
            hint = self._kinds_asked.pop(number)
            try:
                answer = self._read_answer(kind, rest[0], hint)
            except (StackError, AgentError, LocalError) as error:
                done(None, error)
            else:
                done(answer, None)
            return
        if kind == _QUESTION and self._defer and self._asking and within not in self._asking:
            self._deferred.append(frame)
            return
        name, data = rest
        if name not in self._kinds:
            raise ChannelClosed(f"the other process said {name!r:.40}, which is not of the protocol")
        try:
            message = load(self._kinds[name], data)
        except CodecError as error:
            raise ChannelClosed(f"the other process said {name} with bad content: {error}") from None
        if kind == _NOTICE:
            self._handle(message)
            return
        self._answering.append(number)
        try:
            answer = dump(type(message).answer, self._handle(message))
            reply = [_ANSWER, number, 0, answer]
        except Exception as error:
            if self.closed:
                raise
            # The other process is told.
            reply = [_ERROR, number, 0, dump(Failure, failure_of(error))]
        finally:
            self._answering.pop()
        self._send(reply)

    def _read_answer(self, kind: int, data: Any, hint: Any) -> Any:
        try:
            if kind == _ERROR:
                raise error_of(load(Failure, data))
            return load(hint, data)
        except CodecError as error:
            raise ChannelClosed(f"the other process gave a bad answer: {error}") from None

    def _send(self, frame: list[Any]) -> None:
        data = json.dumps(frame, separators=(",", ":")).encode()
        view = memoryview(_LENGTH.pack(len(data)) + data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                _wait(self._sock, select.POLLOUT, None)
            except OSError:
                self.closed = True
                raise ChannelClosed("the stack process is gone") from None

    def _frame(self, deadline: float | None) -> list[Any] | None:
        """Return the next frame, None when there is none until *deadline* (None: wait for ever)."""
        while True:
            if len(self._buffer) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer)
                if length > _LONGEST:
                    raise ChannelClosed("the other process sends frames that are too long")
                if len(self._buffer) >= _LENGTH.size + length:
                    data = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
                    del self._buffer[: _LENGTH.size + length]
                    return _frame(data)
            if not self._read(deadline):
                return None

    def _read(self, deadline: float | None) -> bool:
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            return wait != 0.0 and _wait(self._sock, select.POLLIN, wait)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            raise ChannelClosed("the stack process is gone")
        self._buffer += data
        return True


def _wait(sock: socket.socket, event: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1e3))


def _frame(data: bytes) -> list[Any]:
    try:
        frame: Any = json.loads(data)
    except ValueError:
        raise ChannelClosed("the other process sends what is not JSON") from None
    if not _is_frame(frame):
        raise ChannelClosed("the other process sends what is not a frame")
    whole: list[Any] = frame
    return whole


def _is_frame(frame: Any) -> bool:
    if not isinstance(frame, list) or len(frame) not in (4, 5):
        return False
    kind, number, within, *rest = frame
    if not all(isinstance(one, int) for one in (kind, number, within)):
        return False
    return len(rest) == 1 if kind in (_ANSWER, _ERROR) else len(rest) == 2 and isinstance(rest[0], str)


def failure_of(error: BaseException) -> Failure:
    """Return *error* for the other process. Of one that is not expected only the type is told."""
    if isinstance(error, StackError):
        return Failure(detail=error.detail, status=error.status)
    if isinstance(error, AgentError | PeerError | SentSdpAltered):
        word, side = reason_of(error), side_of(error)
        return Failure(detail=str(error), status=status_of(error), word=word, side=side)
    if isinstance(error, LocalError):
        return Failure(detail=str(error), status=0, word=_LOCAL)
    return Failure(detail=type(error).__name__, status=0)


def error_of(failure: Failure) -> StackError | AgentError | LocalError:
    """Return the error that *failure* stands for, of the same type where its type is known here."""
    if not failure.word:
        return StackError(failure.detail, failure.status)
    if failure.word == _LOCAL:
        return LocalError(failure.detail)
    try:
        word = Reason(failure.word)
    except ValueError:
        word = Reason.INTERNAL_ERROR
    side = failure.side if failure.side in ("local", "remote", "kms", "network") else "local"
    return AgentError(word, failure.detail, side=side, sip_status=failure.status)  # type: ignore[arg-type]
