"""A phone on sipua (BSD, asyncio): signalling by sipua, keys by sipmikey's call machine, media by sipmikey.

    python examples/stacks/sipua_phone.py --kms URL --psk-id alice --psk-file alice.psk --play hello.wav \\
        sip:bob@example.com --via sip:127.0.0.1:5070
    python examples/stacks/sipua_phone.py --identity sip:bob@example.com ...    # waits for one call

Exit status: 0 when the media of the call was proven, 1 otherwise.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sipmessage
from account import Account, account, parser
from secured_call import SecuredCall, summary
from sipua import TransportAddress
from sipua_calls import Called, Calling, Stack
from voice import Voice

from sipmikey.call import inputs
from sipmikey.media.endpoint import MediaLoop
from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames


class Phone(Stack):
    """One call on sipua; ``ended`` gets it when it is over."""

    def __init__(self, account: Account, voice: Callable[[], Voice]) -> None:
        super().__init__(account)
        self.ended: asyncio.Future[SecuredCall] = asyncio.get_running_loop().create_future()
        self._voice = voice

    def went(self, error: BaseException | None, *, idle: bool) -> None:
        if error is not None and not self.ended.done():
            self.ended.set_exception(error)
        for call in self.calls.values():
            if call.over is not None and idle and not self.ended.done():
                self.ended.set_result(call)

    async def call(self, callee: str, via: str, talk_s: float) -> None:
        """Call somebody, talk and hang up."""
        grant = await asyncio.to_thread(self.account.get_ticket, callee)
        made = Calling(self, callee, grant, via, self._voice())
        made.talk_s = talk_s
        self.calls[made.call_id] = made
        made.tell(inputs.Start())

    async def invited(self, request: sipmessage.Request) -> None:
        if self.calls:
            await self.reply(request, 486)
            return
        called = self.calls[request.call_id or ""] = Called(self, request, self._voice())
        called.begin()


async def talk(options: Any) -> int:
    """Call or wait for a call, and return the exit status."""
    us = account(options)
    recorder = None if options.record is None else WavRecorder(options.record, PCMA)
    with MediaLoop() as loop:
        frames = read_frames(options.play, PCMA)
        phone = Phone(
            us, lambda: Voice(loop, options.host, source=FrameSource(frames, loop=True), sink=recorder)
        )
        await phone.listen(TransportAddress("udp", options.host, options.port))
        print("ready", *(channel.via_port for channel in phone.transport_layer._channels), flush=True)
        if options.callee:
            await phone.call(options.callee, options.via or "", options.seconds)
        status = summary(await phone.ended)
        await phone.close()
    if recorder is not None:
        recorder.close()
    return status


def main(arguments: list[str] | None = None) -> int:
    with suppress(KeyboardInterrupt):
        return asyncio.run(talk(parser(__doc__ or "").parse_args(arguments)))
    return 130


if __name__ == "__main__":
    sys.exit(main())
