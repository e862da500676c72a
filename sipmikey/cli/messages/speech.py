"""What is said in a message, from a file or the microphone; and what is heard, to a file or the speaker."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from sipmikey.cli.config.sections.media import Media
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.deferred.opening import OpenedMessage
from sipmikey.media.codecs.codec import FRAME_MS, frame_ticks
from sipmikey.media.g711 import PCMA, RATE, to_mono
from sipmikey.media.wav import WavRecorder, encode_frames, read_frames
from sipmikey.mikey.errors import LocalError
from sipmikey.settings import ConfigurationError

FRAMES_PER_S = 1000 // FRAME_MS
_NO_DEVICE = "no-sound-device"


def speech_of(path: Path, *, longest_s: float) -> tuple[bytes, ...]:
    """Return the frames of a WAV file. Raises ``ConfigurationError`` for one that cannot be left."""
    try:
        frames = read_frames(path, PCMA)
    except LocalError as error:
        raise ConfigurationError(str(error)) from None
    if len(frames) > longest_s * FRAMES_PER_S:
        raise ConfigurationError(
            f"{path}: {len(frames) / FRAMES_PER_S:.0f} s, and a message has at most {longest_s:g} s"
            " (mailbox.longest)"
        )
    return frames


def speech_at_terminal(media: Media, *, longest_s: float) -> tuple[bytes, ...]:
    """Return the frames of what is said into the microphone until Enter, or the longest time, is over.

    Raises ``CommandFailed`` where nothing can be recorded.
    """
    stop = threading.Event()
    if sys.stdin.isatty():
        print(f"speak now, {longest_s:g} s at most; Enter ends the message", file=sys.stderr, flush=True)
        threading.Thread(target=_until_enter, args=(stop,), daemon=True, name="enter").start()
    else:
        print(f"recording a message of {longest_s:g} s", file=sys.stderr, flush=True)
    try:
        return speech_of_microphone(media.input, longest_s=longest_s, stop=stop)
    except CommandFailed as error:
        if error.reason != _NO_DEVICE:
            raise
        raise CommandFailed(
            f"{error}: give the message as a file with --message", code=error.code, reason=error.reason
        ) from None


def speech_of_microphone(name: str, *, longest_s: float, stop: threading.Event) -> tuple[bytes, ...]:
    """Return the frames of what is said into the microphone *name* until *stop*, at most *longest_s* seconds.

    Raises ``CommandFailed`` where nothing can be recorded.
    """
    from sipmikey.sound.errors import NoSoundDevice
    from sipmikey.sound.samples import to_octets
    from sipmikey.sound.trial import RATE as RECORDED_RATE
    from sipmikey.sound.trial import record

    try:
        made = record(longest_s, name, stop=stop)
    except NoSoundDevice as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE, reason=_NO_DEVICE) from None
    if not made.audible:
        raise CommandFailed(
            "the microphone gave silence, so no message was left: another one is meant (--input NAME)",
            code=ExitCode.MEDIA, reason="silent-microphone",
        )  # fmt: skip
    pcm = to_mono(to_octets(made.samples), width=2, channels=1, rate=RECORDED_RATE)
    return encode_frames(pcm, PCMA)


def _until_enter(stop: threading.Event) -> None:
    sys.stdin.readline()
    stop.set()


def write_message(message: OpenedMessage, path: Path) -> None:
    """Write what was said as a WAV file that its owner alone can read. Raises ``ConfigurationError``."""
    try:
        recorder = WavRecorder(path, message.codec)
        for number, frame in enumerate(message.frames):
            recorder.put(number * frame_ticks(message.codec), frame)
        recorder.close()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def play_message(message: OpenedMessage, media: Media, *, stop: threading.Event | None = None) -> None:
    """Play what was said, at most until *stop* is set. Raises ``CommandFailed`` without a speaker."""
    import numpy as np

    from sipmikey.sound.errors import NoSoundDevice
    from sipmikey.sound.samples import from_octets
    from sipmikey.sound.trial import RATE as PLAYED_RATE
    from sipmikey.sound.trial import play

    slow = from_octets(b"".join(map(message.codec.decode, message.frames)))
    at = np.arange(len(slow) * PLAYED_RATE // RATE) * (RATE / PLAYED_RATE)
    samples = np.interp(at, np.arange(len(slow)), slow).astype(np.float32)
    try:
        play(samples, media.output, stop=stop)
    except NoSoundDevice as error:
        raise CommandFailed(
            f"{error}: write the message to a file with --record", code=ExitCode.USAGE, reason=_NO_DEVICE
        ) from None
