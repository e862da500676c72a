"""What the calling commands share: an agent whose events are printed, and Ctrl-C as a request to end."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sipmikey.agent import Agent, AgentConfig, Call, CallFailed, Decide, Event, SecurityMode, document
from sipmikey.agent.registration import RegistrationError
from sipmikey.agent.stack import StackError
from sipmikey.call.events import CallEnded, PolicyRefused
from sipmikey.cli.calls.narrate import narrate, route_words
from sipmikey.cli.calls.prompt import ask_at_terminal
from sipmikey.cli.calls.setup import agent_config, kms_client, ticket_file
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.enrol.present_key import present_key, renewed_in_time
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, for_end
from sipmikey.cli.output import Output, complain, timestamp
from sipmikey.phone import Mood, Phone, fold
from sipmikey.phone.ladder.events import steps
from sipmikey.phone.ladder.picture import render
from sipmikey.phone.plain import lines
from sipmikey.printable import printable_line, printable_values
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.identity import canonical

DRAIN_S = 2.0
"""Seconds in which the events of a closed agent are printed; they are there already."""


SIP_LOG_LEVEL = 4
"""pjsip writes whole messages from this level on."""

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the calls; SIGHUP comes when the terminal is closed."""

NO_DEVICE = "no-sound-device"
"""How the stack's error begins where there is no sound device; it is shown as the reason."""

NO_DEVICE_HELP = "use --null-audio, with --play and --record; `sipmikey devices` shows what there is"


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command with an agent has."""
    parser.add_argument("--json", action="store_true", help="events as JSON lines on standard output")
    parser.add_argument(
        "--ladder", action="store_true", help="draw the message ladder at the end (on stderr)"
    )
    parser.add_argument(
        "--sip-log",
        type=Path,
        metavar="FILE",
        help="write pjsip's log with all SIP messages; only you can read the file",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print every event, those of the protocol too",
    )


def positive_seconds(text: str) -> float:
    """Return *text* as a number of seconds above zero; raises ValueError, as argparse expects."""
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise ValueError(text)
    return seconds


class AgentSession:
    """An open agent. ``stopping`` is set by the first of ``_ENDING_SIGNALS``, and when nothing can be
    printed any more; a second signal kills the process.

    ``documents`` holds the events so far as JSON data, in the order they happened, if they are to be kept;
    ``ended`` the first end of a call, as the outcome it would be of a call that was never answered. ``phone``
    is what they make of a phone; *watchers* are told of each document, with the phone before it.
    """

    def __init__(
        self, agent: Agent, output: Output, *, quiet: bool, verbose: bool, called: bool, keep: bool
    ) -> None:
        self.agent = agent
        self.output = output
        self.phone = Phone()
        self.watchers: list[Callable[[Mapping[str, Any], Phone], None]] = []
        self.stopping = asyncio.Event()
        self.documents: list[dict[str, Any]] = []
        self.ended: asyncio.Queue[Outcome] = asyncio.Queue(maxsize=1)
        self._paths: dict[str, str] = {}
        self._quiet = quiet
        self._verbose = verbose
        self._called = called
        self._keep = keep
        self._numbers: set[str] = set()

    async def until_stopped(self, work: Awaitable[Any], *, timeout_s: float | None = None) -> bool:
        """Run *work* until it is done (True), or Ctrl-C or the time-out comes first (False).

        What *work* raises is raised here.
        """
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait((task, stop), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
                return True
            return False
        finally:
            for pending in (task, stop):
                pending.cancel()
                with suppress(asyncio.CancelledError, CallFailed):
                    await pending

    async def stay(self, call: Call, *, timeout_s: float | None = None) -> CallEnded:
        """Return the end of *call*, or of what transfers made of it; Ctrl-C or the time-out hang up."""
        talking = [call]

        async def last() -> None:
            await talking[-1].ended()
            while (successor := talking[-1].successor) is not None:
                talking.append(successor)
                await successor.ended()

        if not await self.until_stopped(last(), timeout_s=timeout_s):
            successor = talking[-1].successor
            talking += [] if successor is None else [successor]
            for one in talking:
                await one.hangup()
        return await talking[-1].ended()

    def print(self, fields: Mapping[str, Any]) -> None:
        """Print a document of this command's own, as a line of text if there is one for it."""
        if self._keep:
            self.documents.append(dict(fields))
        self.output.document(fields)
        before, self.phone = self.phone, fold(self.phone, fields)
        if not self._quiet and not self.output.as_json:
            self._narrate(fields) if self._verbose else self._tell(before)
        for watcher in self.watchers:
            watcher(fields, before)

    def _narrate(self, fields: Mapping[str, Any]) -> None:
        # The peer's text is in these values; in the lines made of them are our own colours as well.
        shown = {name: printable_values(value) for name, value in fields.items()}
        if (line := narrate(shown, self.output.paint, called=self._called)) is not None:
            self._numbers.add(number := fields.get("call") or "")
            if number and len(self._numbers - {""}) > 1:
                line = f"call {number}: {line}"
            clock = self.output.paint.faint(fields["ts"][11:23])
            self.output.text(f"{clock} {line}")

    def _tell(self, before: Phone) -> None:
        paint = self.output.paint
        loud = {Mood.GOOD: paint.good, Mood.BAD: paint.bad}
        for line in lines(before, self.phone):
            text = f"{line.text} [y/N]" if line.asks else str(line.text)
            self.output.text(loud.get(line.mood, str)(text))

    def record(self, event: Event) -> None:
        """Print an event of the agent."""
        fields = document(event)
        fields.pop("v")
        at = fields.pop("at")
        for name, value in fields.items():
            if isinstance(value, float) and name.endswith(("_ms", "_s")):
                fields[name] = round(value, 1)
        if event.type == "media.path":
            self._paths[event.call] = route_words(fields)
        elif event.type == "call.state" and event.call in self._paths:
            fields["path"] = self._paths[event.call]
        self.print({"ts": timestamp(at), **fields})
        if isinstance(event, CallEnded):
            self._note_end(Outcome.of_refusal(event))
        elif isinstance(event, PolicyRefused) and not event.call:
            # The SIP stack turned a call away by itself: there is no other event of its end.
            self._note_end(Outcome.of_failure(CallFailed(event.reason, event.side, 0, event.detail)))

    def _note_end(self, outcome: Outcome) -> None:
        if self.ended.empty():
            self.ended.put_nowait(outcome)

    def requires(self, uri: str) -> bool:
        """Return whether calls with *uri* have to be protected."""
        return self.agent.config.policy.security_for(canonical(uri)) is SecurityMode.REQUIRED


def _with_sip_log(config: AgentConfig, path: Path | None) -> AgentConfig:
    """Return *config* with pjsip's log in a new file that only its owner can read."""
    if path is None:
        return config
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"--sip-log {path}: {error.strerror}") from None
    return replace(config, log_file=path, log_level=SIP_LOG_LEVEL)


@asynccontextmanager
async def open_session(
    loaded: LoadedConfiguration,
    args: argparse.Namespace,
    *,
    called: bool = False,
    decide: Decide = ask_at_terminal,
) -> AsyncIterator[AgentSession]:
    """Open an agent as *loaded* says, print its events, and close it at the end.

    *called*: calls come in. *decide* is asked where policy wants the user asked.
    """
    config = _with_sip_log(agent_config(loaded.configuration), args.sip_log)
    if not called and config.keys is not None:
        # A command that makes one call does not stay to renew tickets for others.
        config = replace(config, keys=replace(config.keys, contacts=()))
    present = present_key(loaded)
    if present is not None and config.keys is not None:
        config = replace(config, keys=replace(config.keys, present_psk=present))
    async with AsyncExitStack() as stack:
        if present is not None and called:
            stack.enter_context(renewed_in_time(present))
        client = kms_client(loaded.configuration)
        if client is not None:
            await stack.enter_async_context(client)
        kept = ticket_file(loaded.configuration, config)
        agent = Agent(config, kms=client, decide=decide, ticket_file=kept)
        output = Output(as_json=args.json)
        session = AgentSession(
            agent, output, quiet=args.quiet, verbose=args.verbose, called=called, keep=args.ladder
        )
        loop = asyncio.get_running_loop()
        for number in _ENDING_SIGNALS:
            loop.add_signal_handler(number, _stop, session, loop)
            stack.callback(loop.remove_signal_handler, number)
        stack.enter_context(_reader_watched(session, loop))
        printing = asyncio.create_task(_print_events(session))
        printing.add_done_callback(lambda _: session.stopping.set())
        await asyncio.sleep(0)  # the task has to subscribe before anything happens
        try:
            async with opened(agent):
                yield session
        finally:
            # An agent that never opened has no end of events to wait for.
            await asyncio.wait((printing,), timeout=DRAIN_S)
            printing.cancel()
        # The error that ended the printing ends the command: a reader that went away, or a bug.
        with suppress(asyncio.CancelledError):
            await printing


@asynccontextmanager
async def opened(agent: Agent) -> AsyncIterator[None]:
    """Open *agent* and close it; raises CommandFailed when it cannot be opened."""
    try:
        await agent.__aenter__()
    except StackError as error:
        if error.detail.startswith(NO_DEVICE):
            raise CommandFailed(
                f"{error.detail}: {NO_DEVICE_HELP}", code=ExitCode.USAGE, reason=NO_DEVICE
            ) from None
        raise CommandFailed(str(error), code=ExitCode.TRANSPORT, reason="transport-failed") from None
    async with AsyncExitStack() as stack:
        stack.push_async_exit(agent)
        yield


def _stop(session: AgentSession, loop: asyncio.AbstractEventLoop) -> None:
    session.stopping.set()
    for number in _ENDING_SIGNALS:
        loop.remove_signal_handler(number)


@contextmanager
def _reader_watched(session: AgentSession, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Stop *session* when the reader of the pipe on standard output goes away.

    Without this it would be noticed at the next event, which may be long in coming.
    """
    number = -1
    with suppress(OSError, ValueError):  # standard output was closed or replaced
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            number = sys.stdout.fileno()
    if number < 0:
        yield
        return

    def gone() -> None:
        loop.remove_reader(number)
        session.stopping.set()

    # Nothing is ever read from the end that we write to: all it reports is that the other end was closed.
    loop.add_reader(number, gone)
    try:
        yield
    finally:
        loop.remove_reader(number)


async def _print_events(session: AgentSession) -> None:
    async for event in session.agent.events():
        session.record(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended: its exit code, and why, in the words of the events."""

    code: ExitCode
    reason: str = ""
    side: str = ""
    status: int = 0
    detail: str = ""

    @classmethod
    def of_failure(cls, error: CallFailed) -> Outcome:
        """Return the outcome of a call that was never established: a failure, even if the peer cancelled."""
        code = for_end(error.reason.family, error.side)
        if isinstance(error, RegistrationError):
            code = ExitCode.TRANSPORT
        return cls(
            code=ExitCode.CALL_FAILED if code is ExitCode.OK else code,
            reason=error.reason,
            side=error.side,
            status=error.status,
            detail=error.detail,
        )

    @classmethod
    def of_end(cls, end: CallEnded, *, required: bool) -> Outcome:
        """Of a call that was established: how it ended, and whether it was proven secure if *required*."""
        code = for_end(end.reason.family, end.side)
        detail = end.detail
        if code is ExitCode.OK and required and end.security.media != "proven":
            code, detail = (
                ExitCode.MEDIA,
                "no packet of the other side verified: the media is not proven secure",
            )
        return cls(code=code, reason=end.reason, side=end.side, status=end.status, detail=detail)

    @classmethod
    def of_refusal(cls, end: CallEnded) -> Outcome:
        """Of an incoming call that was refused before it rang."""
        return cls.of_failure(CallFailed(end.reason, end.side, end.status, end.detail))


def _whose(outcome: Outcome) -> str:
    """Return what went wrong in general, and where the cause lies if that is not here."""
    if outcome.side == "remote" and outcome.code is ExitCode.KMS:
        return "the KMS of the other side refused, or the other side could not reach it"
    if outcome.side == "remote" and outcome.reason == "internal-error":
        return "the other side had an error of its own"
    return outcome.code.meaning


def finish(session: AgentSession, outcome: Outcome) -> int:
    """Print the result, as the last line, and the ladder if it was asked for; return the exit code."""
    fields = asdict(outcome) | {"exit_code": int(outcome.code), "exit_meaning": outcome.code.meaning}
    del fields["code"]
    session.output.document({"ts": timestamp(time.time()), "type": "result", "call": "", **fields})
    if outcome.code is not ExitCode.OK:
        why = ": ".join(filter(None, (outcome.reason, outcome.detail)))
        sip = f" (SIP {outcome.status})" if outcome.status >= 300 else ""
        complain(f"{_whose(outcome)}; {why or 'no further details'}{sip}")
    if session.documents:
        ladder = render(list(steps(session.documents, us="us", peer="other side")))
        print(printable_line(ladder), file=sys.stderr)
    return outcome.code
