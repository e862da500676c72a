"""Several workers on the same listening sockets: started, watched, replaced, stopped together."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence

from prometheus_client import multiprocess

from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import MULTIPROCESS_VARIABLE

READY_LINE = b"ready\n"
"""What a worker writes to its standard output once it accepts connections."""

RESTART_FLOOR_S = 0.1
RESTART_CEILING_S = 10.0
STEADY_S = 30.0
"""A worker that lived this long died of something new: its replacement starts immediately."""


class _Slot:
    """One place for a worker and the process that holds it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self.delay = RESTART_FLOOR_S


class _Supervisor:
    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        count: int,
        *,
        kill_after_s: float,
        metrics_directory: str,
    ) -> None:
        self._command = command
        self._descriptors = tuple(listener.fileno() for listener in sockets)
        self._slots = [_Slot(number) for number in range(count)]
        self._kill_after_s = kill_after_s
        self._metrics_directory = metrics_directory
        self._stopping = asyncio.Event()
        self._failure = 0

    async def run(self, on_start: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._signal, signal.SIGHUP)
        keepers = [asyncio.ensure_future(self._keep(slot)) for slot in self._slots]
        started = asyncio.ensure_future(self._started(on_start))
        await self._stopping.wait()
        log.info("stopping", extra={"fields": {"workers": len(self._slots)}})
        started.cancel()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._kill_after_s)
        if late:
            log.error("workers-killed", extra={"fields": {"count": len(late)}})
            self._signal(signal.SIGKILL)
        await asyncio.gather(*keepers)
        log.info("stopped")
        return self._failure

    async def _started(self, on_start: Callable[[], None]) -> None:
        for slot in self._slots:
            await slot.ready.wait()
        on_start()

    def _signal(self, number: int) -> None:
        for slot in self._slots:
            if slot.process is not None and slot.process.returncode is None:
                slot.process.send_signal(number)

    async def _keep(self, slot: _Slot) -> None:
        """Keep a worker running in *slot* until the service stops."""
        while not self._stopping.is_set():
            born = time.monotonic()
            code = await self._one_life(slot)
            if self._stopping.is_set():
                return
            if not slot.ready.is_set():
                # It never served: the next would fail the same way. Let the operator see its message.
                self._failure = code if code > 0 else 1
                self._stopping.set()
                return
            log.error("worker-died", extra={"fields": {"worker": slot.number, "status": code}})
            if time.monotonic() - born > STEADY_S:
                slot.delay = RESTART_FLOOR_S
            await self._pause(slot.delay)
            slot.delay = min(slot.delay * 2, RESTART_CEILING_S)

    async def _one_life(self, slot: _Slot) -> int:
        environment = dict(os.environ) | {MULTIPROCESS_VARIABLE: self._metrics_directory}
        slot.process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=self._descriptors,
            env=environment,
        )
        if self._stopping.is_set():
            process.terminate()
        assert process.stdout is not None
        if await process.stdout.readline() == READY_LINE:
            slot.ready.set()
            log.info("worker-started", extra={"fields": {"worker": slot.number, "worker_pid": process.pid}})
        code = await process.wait()
        multiprocess.mark_process_dead(process.pid, self._metrics_directory)  # type: ignore[no-untyped-call]
        return code

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def supervise(
    command: Sequence[str],
    sockets: Sequence[socket.socket],
    count: int,
    *,
    on_start: Callable[[], None],
    kill_after_s: float,
) -> int:
    """Run *count* processes of *command*, which inherit *sockets* under their present descriptors.

    A worker writes `READY_LINE` to standard output when it serves; *on_start* is called when all have. Its
    standard input is a pipe that closes when this process ends, for any reason: the worker must end then too.
    SIGTERM and SIGINT stop all gracefully, after *kill_after_s* seconds by force; SIGHUP is passed on.
    Returns 0, or the exit code of a worker that ended before it served.
    """
    directory = tempfile.mkdtemp(prefix="sipmikey-kms-metrics-")

    async def body() -> int:
        supervisor = _Supervisor(
            command, sockets, count, kill_after_s=kill_after_s, metrics_directory=directory
        )
        return await supervisor.run(on_start)

    try:
        return asyncio.run(body())
    finally:
        shutil.rmtree(directory, ignore_errors=True)
