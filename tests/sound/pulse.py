"""A PulseAudio server of the test's own, with null sinks for mouths and ears."""

from __future__ import annotations

import os
import subprocess
import wave
from pathlib import Path
from types import TracebackType
from typing import Self

from sipmikey.testing.process import Process
from tests.interop.lab.agents import wait_until

RATE = 16000


class Pulse:
    """A running server in *directory*; a context manager. Its variables are set in this process as well.

    `add_person("alice")` makes a microphone "alice mic", into which `say` speaks, and a speaker "alice ear",
    which `listen` records.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700)
        self.server = f"unix:{directory}/socket"
        self._before = {name: os.environ.get(name) for name in self.variables}
        self._process: Process | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a program needs in its environment to use this server and to remember nothing."""
        home = str(self._directory)
        return {"PULSE_SERVER": self.server, "XDG_RUNTIME_DIR": home, "XDG_STATE_HOME": home, "HOME": home}

    def __enter__(self) -> Self:
        modules = [f"module-native-protocol-unix auth-anonymous=1 socket={self._directory}/socket"]
        self._process = Process(
            ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "-v",
             "--realtime=no", "--high-priority=no", *(f"--load={module}" for module in modules)],
            env=self.variables,
        )  # fmt: skip
        self._process.wait_for("Daemon startup complete")
        os.environ.update(self.variables)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._process is not None:
            self._process.stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    @property
    def pid(self) -> int:
        """The number of the server's process."""
        assert self._process is not None
        return self._process.pid

    def add_person(self, name: str) -> tuple[str, str]:
        """Make a microphone and a speaker; return the numbers of their modules, for `unplug`."""
        self._load("module-null-sink", sink_name=f"{name}_mouth", rate=str(RATE), channels="1")
        microphone = self._load(
            "module-remap-source", source_name=f"{name}_mic", master=f"{name}_mouth.monitor",
            source_properties=f"device.description='{name} mic'",
        )  # fmt: skip
        return microphone, self.add_speaker(f"{name} ear")

    def add_speaker(self, description: str) -> str:
        """Plug a speaker in; return the number of its module, for `unplug`."""
        return self._load(
            "module-null-sink", sink_name=description.replace(" ", "_"), rate=str(RATE), channels="1",
            sink_properties=f"device.description='{description}'",
        )  # fmt: skip

    def unplug(self, module: str) -> None:
        """Take a device away."""
        self._control("unload-module", module)

    def say(self, name: str, wav: Path) -> Process:
        """Speak a WAV file into a person's microphone, over and over until the process is stopped."""
        play = f'while :; do paplay --server={self.server} --device={name}_mouth "{wav}"; done'
        return Process(["sh", "-c", play], name=f"{name} speaks")

    def listen(self, speaker: str, into: Path) -> Process:
        """Record what a speaker (a description, such as "alice ear") plays, until the process is stopped."""
        device = f"{speaker.replace(' ', '_')}.monitor"
        options = f"--server={self.server} --device={device} --rate=8000 --channels=1 --latency-msec=20"
        return Process(["sh", "-c", f'exec parec {options} > "{into}.raw"'], name=f"{speaker} recorded")

    def _load(self, module: str, **arguments: str) -> str:
        return self._control(
            "load-module", module, *(f'{name}="{value}"' for name, value in arguments.items())
        )

    def _control(self, *words: str) -> str:
        command = ["pactl", f"--server={self.server}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class PipeWire(Pulse):
    """The same by PipeWire, which speaks PulseAudio's protocol. Needs pipewire-pulse, wireplumber, dbus."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.server = f"unix:{directory}/pulse/native"

    def __enter__(self) -> Self:
        programs = "pipewire & sleep 1; wireplumber & exec pipewire-pulse"
        self._process = Process(["dbus-run-session", "--", "sh", "-c", programs], env=self.variables)
        os.environ.update(self.variables)
        wait_until(self._answers, "PipeWire")
        return self

    def _answers(self) -> bool:
        return subprocess.run(["pactl", "info"], capture_output=True).returncode == 0


class Alsa(Pulse):
    """ALSA, whose devices lead to the null sinks of a PulseAudio server that agents do not find.

    Needs ALSA's plugin for PulseAudio (Debian: libasound2-plugins).
    """

    @property
    def variables(self) -> dict[str, str]:
        """What a program needs to find the devices of ALSA only."""
        return super().variables | {"PULSE_SERVER": f"unix:{self._directory}/nobody"}

    def _load(self, module: str, **arguments: str) -> str:
        name = arguments.get("source_name") or arguments["sink_name"]
        if not name.endswith("_mouth"):
            with (self._directory / ".asoundrc").open("a") as file:
                file.write(
                    f'pcm.{name} {{ type pulse server "{self.server}" device "{name}"\n'
                    f'  hint {{ show on description "{name.replace("_", " ")}" }} }}\n'
                )
        return super()._load(module, **arguments)


SYSTEMS = {"": Pulse, "pipewire": PipeWire, "alsa": Alsa}
"""Sound systems to test on, by SIPMIKEY_TEST_SOUND."""


def recorded(path: Path) -> bytes:
    """Return the samples that `listen` recorded: 16-bit at 8000 Hz."""
    file = Path(f"{path}.raw")
    return file.read_bytes() if file.exists() else b""


def write_wav(path: Path, octets: bytes, rate: int) -> None:
    """Write 16-bit mono samples."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(octets)
