"""A TCP door in front of a server, which can be slow, shut, or cut off what passes."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress


class Door:
    """Passes connections on to `127.0.0.1:target`, in a thread of its own from `start` to `stop`.

    ``delay_s``: how long each answer is held back. ``shut``: connections are refused by closing them.
    ``port`` is its own. All can be changed at any time.
    """

    def __init__(self, target: int) -> None:
        self.delay_s = 0.0
        self.shut = False
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="door", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Open the door on a free port of the loopback interface."""
        self._thread.start()
        opening = asyncio.start_server(self._pass, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Close all connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server: asyncio.StreamWriter | None = None
        try:
            if self.shut:
                return
            answers, server = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(
                self._copy(reader, server, held=False), self._copy(answers, writer, held=True)
            )
        except (OSError, asyncio.CancelledError):
            pass  # a connection that broke, or `stop`
        finally:
            self._tasks.discard(task)
            for end in (writer, server):
                if end is not None:
                    end.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, held: bool) -> None:
        while data := await source.read(65_536):
            if held and self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.shut:
                break
            target.write(data)
            await target.drain()
        with suppress(OSError, RuntimeError):
            target.write_eof()
