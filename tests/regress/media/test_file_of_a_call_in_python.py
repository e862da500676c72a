"""The file that a call plays is read before its media runs, where a failure can end the call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sipmikey.agent import AgentConfig, Audio, KeyManagement, Sip
from sipmikey.agent.python_media import engine
from sipmikey.agent.python_media.agreed_media import AgreedMedia
from sipmikey.agent.python_media.engine import CallMedia, PythonMedia
from sipmikey.agent.stack import StackError
from sipmikey.media.codecs.codec import Codec
from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import read_frames
from sipmikey.mikey.secret import Secret
from tests.media.peers.test_interop_pjmedia import write_melody

DESCRIBED = "v=0\r\nm=audio 9 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"


def agreed(codec: str) -> AgreedMedia:
    return AgreedMedia(
        codec=codec, types=(8, 8), event_types=(None, None), remote=None, remote_rtcp=None, both_ways=True
    )


@pytest.fixture
def played(tmp_path: Path) -> Path:
    write_melody(tmp_path / "played.wav", 1)
    return tmp_path / "played.wav"


@pytest.fixture
def media(played: Path) -> Iterator[PythonMedia]:
    config = AgentConfig(
        identity="sip:alice@example.com",
        keys=KeyManagement(kms="sip:kms@example.com", psk=Secret(bytes(32)), suites=("128",)),
        audio=Audio(engine="python", codecs=("PCMA",), play=played),
        sip=Sip(bind="127.0.0.1"),
    )
    made = PythonMedia(config, SimpleNamespace(devices=None))
    yield made
    made.close()


@pytest.fixture
def call(media: PythonMedia) -> CallMedia:
    made = media.call(lambda _: None)
    made.describe(DESCRIBED)
    return made


def test_it_is_read_in_the_thread_that_connects(call: CallMedia, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[str] = []

    def read(path: Path, codec: Codec) -> tuple[bytes, ...]:
        readers.append(threading.current_thread().name)
        return read_frames(path, codec)

    monkeypatch.setattr(engine, "read_frames", read)
    call.connect(0, agreed("PCMA"))
    call.speak()
    call.connect(0, agreed("PCMA"))
    call.close()
    assert readers == [threading.current_thread().name]


def test_a_stream_agreed_on_while_the_call_speaks_plays_it(
    media: PythonMedia, call: CallMedia, played: Path
) -> None:
    call.speak()
    call.connect(0, agreed("PCMA"))
    line = call._line(0)
    first = media.loop.call(lambda: line.stream.source and line.stream.source.next_frame()).result(20)
    assert first == read_frames(played, PCMA)[0]


def test_a_file_that_is_gone_and_a_codec_nobody_has_are_said_at_once(call: CallMedia, played: Path) -> None:
    with pytest.raises(StackError, match="no codec GSM"):
        call.connect(0, agreed("GSM"))
    played.unlink()
    with pytest.raises(StackError, match=r"played\.wav: No such file"):
        call.connect(0, agreed("PCMA"))
