"""`sipmikey devices`: the sound devices of this machine, tried out and remembered."""

from __future__ import annotations

import argparse

from sipmikey.cli.exit_codes import CommandFailed, ExitCode, table
from sipmikey.cli.output import Output
from sipmikey.sound.devices import Device, Devices, Direction, choose
from sipmikey.sound.errors import NoSoundDevice
from sipmikey.sound.remembered_devices import place, remember, remembered
from sipmikey.sound.settings import Role
from sipmikey.sound.tones import RING_BACK, TonePlayer
from sipmikey.sound.trial import RATE, Recording, play, record

EXAMPLES = """\
examples:
  sipmikey devices                               list microphones and speakers
  sipmikey devices --test                        play a tone, record three seconds, play them back
  sipmikey devices --input Headset --output Headset --ringer "Built-in" --remember

A name may be a part of the device's name that no other device has. The choice remembered is what calls use
where the configuration names no device.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `devices` and its options."""
    parser = subparsers.add_parser(
        "devices",
        help="list, try out and choose sound devices",
        description="List the sound devices; with --test play, record and play back.",
        epilog=f"{EXAMPLES}\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", metavar="NAME", help="microphone to try or remember")
    parser.add_argument("--output", metavar="NAME", help="speaker to try or remember")
    parser.add_argument("--ringer", metavar="NAME", help="device that rings, to remember")
    parser.add_argument("--remember", action="store_true", help="let calls use these from now on")
    parser.add_argument("--forget", action="store_true", help="let calls use the system's defaults again")
    parser.add_argument("--test", action="store_true", help="play a tone, record, and play what was recorded")
    parser.add_argument(
        "--seconds", type=_seconds, default=3.0, metavar="SECONDS", help="how long to record (3)"
    )
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")


def _seconds(text: str) -> float:
    """Return *text* as a number of seconds; raises ValueError, as argparse expects."""
    seconds = float(text)
    if not 0.1 <= seconds <= 60:
        raise ValueError(text)
    return seconds


def run(args: argparse.Namespace) -> int:
    """List, try out, remember; return the exit code."""
    output = Output(as_json=args.json)
    try:
        devices = Devices()
        there = devices.all()
        chosen = _chosen(args, there)
        if args.forget:
            for role in Role:
                remember(role, "")
        if args.remember:
            for role, name in chosen.items():
                remember(role, name)
            output.text(f"remembered in {place()}")
        _list(output, devices.backend, there)
        if args.test:
            return _test(output, chosen, args.seconds)
    except NoSoundDevice as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE, reason="no-sound-device") from None
    return ExitCode.OK


def _chosen(args: argparse.Namespace, there: tuple[Device, ...]) -> dict[Role, str]:
    """Return the full names of the devices that the options name. Raises ``NoSoundDevice``."""
    given = {role: getattr(args, role) for role in Role if getattr(args, role)}
    return {
        role: choose(name, Direction.INPUT if role is Role.INPUT else Direction.OUTPUT, there)
        for role, name in given.items()
    }


def _list(output: Output, backend: str, there: tuple[Device, ...]) -> None:
    kept = remembered()
    output.text(f"sound system: {backend}")
    for device in there:
        roles = [role for role, name in kept.items() if name and _same(name, device, role)]
        output.document(
            {
                "type": "device",
                "backend": backend,
                "direction": device.direction,
                "name": device.name,
                "monitor": device.monitor,
                "remembered": roles,
            }
        )
        notes = [*(f"remembered as {role}" for role in roles)]
        if device.monitor:
            notes.append("hears what that speaker plays")
        told = f"  ({'; '.join(notes)})" if notes else ""
        output.text(f"  {device.direction:<6} {device.name}{told}")
    for role, name in kept.items():
        if name and not any(_same(name, device, role) for device in there):
            output.text(f"  {role:<6} {name}  (remembered, and not plugged in: the default takes its place)")


def _same(name: str, device: Device, role: Role) -> bool:
    wanted = Direction.INPUT if role is Role.INPUT else Direction.OUTPUT
    return device.direction is wanted and name.lower() in device.name.lower()


def _test(output: Output, chosen: dict[Role, str], seconds: float) -> int:
    kept = remembered()
    speaker = chosen.get(Role.OUTPUT) or kept.get(Role.OUTPUT, "")
    microphone = chosen.get(Role.INPUT) or kept.get(Role.INPUT, "")
    output.text("playing a tone of one second: you should hear it now")
    play(TonePlayer(RING_BACK, RATE).next(RATE), speaker)
    output.text(f"recording {seconds:g} s: say something")
    made = record(seconds, microphone)
    output.text(
        f"recorded: loudest {made.level.peak_db:.0f} dB, on the whole {made.level.rms_db:.0f} dB"
        " (0 is the loudest there is, -60 and less is silence)"
    )
    output.text("playing what was recorded")
    play(made.samples, speaker)
    return _judge(output, made)


def _judge(output: Output, made: Recording) -> int:
    output.document(
        {
            "type": "trial",
            "peak_db": round(made.level.peak_db, 1),
            "rms_db": round(made.level.rms_db, 1),
            "audible": made.audible,
        }
    )
    if not made.audible:
        raise CommandFailed(
            "the microphone gave silence: it is muted, or another one is meant (--input NAME)",
            code=ExitCode.MEDIA,
            reason="silent-microphone",
        )
    return ExitCode.OK
