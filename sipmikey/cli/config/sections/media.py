"""Sound, and how long to wait."""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sipmikey.cli.config.sections.values import DEVICES, ENGINES
from sipmikey.settings import readers as read
from sipmikey.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Sound."""

    device: str = setting("default", "sound device", read.word(*DEVICES), words=DEVICES)
    engine: str = setting(
        "native",
        "what runs the media: pjmedia, or Python (suite 128)",
        read.word(*ENGINES),
        words=ENGINES,
    )
    echo: bool = setting(False, "send back what is heard, as an echo service does", read.boolean)
    play: Path | None = setting(None, "WAV file to send", read.path, option="--play", metavar="WAV")
    repeat: bool = setting(False, "play it over and over", read.boolean)
    record: Path | None = setting(
        None, "WAV file to write what is heard to", read.path, option="--record", metavar="WAV"
    )
    streams: int = setting(1, "audio streams to offer", read.count(1, 4))
    codecs: tuple[str, ...] = setting(
        (),
        "codecs, best first (by default G722, opus in the Python engine where it is installed, PCMA, PCMU)",
        read.texts,
    )
    rtp_port: int = setting(0, "first RTP port; 0: any", read.count(0, 65534))
    jitter_least: int = setting(
        50, "shortest time that what arrives waits before it is heard, milliseconds", read.count(40, 1000)
    )
    jitter_most: int = setting(200, "longest such time, milliseconds", read.count(40, 1000))
    input: str = setting(
        "",
        "microphone: a device's name or a part of it (by default what `sipmikey devices` remembers, or the"
        " system's)",
        read.text,
        option="--input",
        metavar="NAME",
    )
    output: str = setting("", "speaker, likewise", read.text, option="--output", metavar="NAME")
    ringer: str = setting("", "device that rings, likewise", read.text, option="--ringer", metavar="NAME")
    input_volume: float = setting(0.0, "volume of the microphone, decibels", read.number(-60, 20, "decibels"))
    output_volume: float = setting(0.0, "volume of the speaker, decibels", read.number(-60, 20, "decibels"))
    noise_gate: float = setting(
        0.0,
        "turn the microphone down below this level, decibels (such as -50); 0: no gate",
        read.number(-96, 0, "decibels"),
    )
    echo_tail: int = setting(
        0,
        "longest echo that the canceller takes out, milliseconds (such as 200); 0: it is off",
        read.count(0, 500),
    )
    tones: bool = setting(True, "ring, ring-back and call-waiting tones", read.boolean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds."""

    kms: float = setting(
        5.0,
        "longest wait for an answer from the KMS",
        read.seconds(0.01, 600),
        option="--kms-timeout",
        metavar="SECONDS",
    )
    setup: float = setting(
        60.0,
        "longest wait for the call to be answered",
        read.seconds(0.1, 3600),
        option="--ring-timeout",
        metavar="SECONDS",
    )
    register: float = setting(10.0, "for the registrar", read.seconds(0.1, 600))
    mailbox: float = setting(20.0, "for an answer of the mailbox", read.seconds(0.1, 600))
    media: float = setting(5.0, "for the first packet that proves the keys", read.seconds(0.1, 600))
    silence: float = setting(
        5.0, "without a packet that verifies, until proven media is told to be stalled", read.seconds(1, 600)
    )
    gone: float = setting(
        60.0, "of such silence, until the peer is taken to be gone and the call ends; 0: never",
        read.seconds(0, 86400),
    )  # fmt: skip
    decision: float = setting(
        30.0, "for the user to accept another identity (`security.retarget`)", read.seconds(0.1, 600)
    )
