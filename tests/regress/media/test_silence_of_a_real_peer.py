"""PROVEN stays true: packets that stop, or stop verifying, are told, and the exit code follows."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from sipmikey.keys.suite import SUITE_128
from sipmikey.media.keying import StreamKey
from sipmikey.sdp import Offerer, SessionKeys
from sipmikey.system import environment
from sipmikey.ticket import FULL_MODE, RequestedKey, TicketPolicy, TicketRequest
from tests.cli.commands import Start
from tests.interop.lab.peer import SipPeer, plain_sdp, udp_socket
from tests.regress.kms.strange_kms import StrangeKms
from tests.sdp.parties import ALICE, BOB, KMS, credential

FRAME_S = 0.02
SETTLED = 150
"""For its first 100 packets pjmedia takes a replay for a new stream."""


def offerer_of(kms: StrangeKms) -> Offerer:
    env = environment()
    keys = (RequestedKey(length=SUITE_128.key_length),)
    policy = TicketPolicy(
        suite=SUITE_128, flags=FULL_MODE, responders=(BOB,), kms=KMS, initiator=ALICE, requested_keys=keys
    )
    request = TicketRequest.start(env, policy=policy, credential=credential(ALICE), identity=ALICE, kms=KMS)
    return Offerer(env, grant=request.receive(kms.kms.request(request.message)), called=BOB)


class Speech:
    """Packets of silence under the keys of a call, from a socket of ours."""

    def __init__(self, keys: SessionKeys) -> None:
        self._stream = StreamKey.of(keys.media[0].send)
        self._session = Session(
            policy=Policy(key=self._stream.keying().reveal(), ssrc_type=Policy.SSRC_ANY_OUTBOUND)
        )

    def plain(self, number: int, *, another: int = 0) -> bytes:
        header = bytes((0x80, 8)) + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big")
        return header + (self._stream.ssrc ^ another).to_bytes(4, "big") + b"\xd5" * 160

    def packet(self, number: int, *, another: int = 0) -> bytes:
        return bytes(self._session.protect(self.plain(number, another=another)))


@contextmanager
def sending(send: Callable[[int], None]) -> Iterator[None]:
    """Call *send* with 0, 1, 2... every 20 ms."""
    stopped = threading.Event()

    def run() -> None:
        number = 0
        while not stopped.wait(FRAME_S):
            send(number)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_proven_stream_is_told_of_until_the_end(engine: str, command: Start, tmp_path: Path) -> None:
    with StrangeKms() as kms, SipPeer("alice") as peer, udp_socket("127.0.0.1", 0) as media:
        offerer = offerer_of(kms)
        sdp = offerer.make_offer(plain_sdp(media.getsockname()[1]))
        settings = {
            "SIPMIKEY_TIMEOUTS_SILENCE": "1", "SIPMIKEY_MEDIA_ENGINE": engine,
            "SIPMIKEY_SECURITY_SUITES": "128",
        }  # fmt: skip
        bob = command("answer", "--auto", "--once", *kms.options(BOB, tmp_path), environment=settings)
        found = re.search(r"127\.0\.0\.1:(\d+)", bob.until("agent.ready")["contact"])
        assert found is not None
        to = ("127.0.0.1", int(found[1]))
        invite = peer.invite(BOB, to, body=sdp, sender=ALICE)
        final = peer.final(invite, to)
        speech = Speech(offerer.receive_answer("tag", final.sdp))
        there = ("127.0.0.1", int(final.sdp.partition("m=audio ")[2].split()[0]))

        def clear(number: int) -> None:
            media.sendto(speech.plain(number + 500), there)

        def good(number: int) -> None:
            media.sendto(speech.packet(number + SETTLED), there)

        def of_another(number: int) -> None:
            media.sendto(speech.packet(number, another=1), there)

        def first(number: int) -> None:
            media.sendto(speech.packet(number), there)

        with sending(first):
            bob.until("media.proven")
        with sending(clear):
            failed = bob.until("media.failed")
        with sending(good):
            bob.until("media.resumed")
        with sending(of_another):
            another = bob.until("media.failed")
            if engine == "native":
                # It takes packets of any source that has the key; ours takes those of the one in the map.
                bob.until("media.resumed")
        if engine == "native":
            bob.until("media.stalled")
        assert bob.until("call.state")["security"]["media"] == "keyed"
        peer.in_dialog("BYE", invite, final, to, cseq=2)
        assert bob.finish() == 7
        assert (failed["reason"], failed["side"]) == ("media-failed", "remote")
        assert "SSRC" in another["detail"]
        # libsrtp, which runs native media, does not tell clear RTP from a wrong key.
        assert ("not SRTP" if engine == "native" else "looks like clear RTP") in failed["detail"]
