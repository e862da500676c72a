"""How long sound takes from a microphone to the peer's ear, and what a call costs: both engines and baresip.

Each subject calls itself on this machine, over SRTP with G.722, with microphones and speakers of a PulseAudio
server of the benchmark's own; baresip has them through ALSA's plugin for PulseAudio. Bursts of noise are
played into the caller's microphone; the microphone and the callee's speaker are recorded, and each burst is
found in both. Needs pulseaudio, baresip-core, libasound2-plugins and the extras `pjsua2`, `sound`, `codecs`:

    python -m benchmarks.sound.latency --rounds 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.media.processes import cpu_s
from sipmikey.ports import free_port
from sipmikey.testing.process import Process
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kms import Kms, uri
from tests.sound.pulse import Pulse, write_wav

RATE = 48000
BURSTS = 8
BURST = RATE // 20
SETTLING_S = 6.0
LONGEST = RATE

BARESIP = """sip_listen 127.0.0.1:{port}
audio_player alsa,{name}_ear
audio_source alsa,{name}_mic
audio_alert alsa,{name}_ear
rtp_ports {first}-{last}
net_interface 127.0.0.1
module_path /usr/lib/baresip/modules
module g722.so
module alsa.so
module srtp.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
"""

Pids = tuple[int, ...]


class Recording:
    """What a PulseAudio source gives, with the time of its first sample."""

    def __init__(self, source: str, rate: int = RATE) -> None:
        command = ["parec", f"--device={source}", f"--rate={rate}", "--channels=1", "--latency-msec=5"]
        self._rate = rate
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._blocks: list[bytes] = []
        self.begun = float("inf")
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        count = 0
        while block := os.read(self._process.stdout.fileno(), 1 << 16):
            self._blocks.append(block)
            count += len(block) // 2
            # The block that came soonest tells best when the first sample was taken.
            self.begun = min(self.begun, time.monotonic() - count / self._rate)

    def stop(self) -> np.ndarray:
        self._process.terminate()
        self._thread.join()
        octets = b"".join(self._blocks)
        return np.frombuffer(octets[: len(octets) // 2 * 2], dtype=np.int16).astype(np.float32)


def noise() -> np.ndarray:
    """Return a burst with the band of a telephone, which every codec leaves."""
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(BURST))
    at = np.fft.rfftfreq(BURST, 1 / RATE)
    spectrum[(at < 300) | (at > 3000)] = 0
    made = np.fft.irfft(spectrum, BURST)
    return (made / np.max(np.abs(made)) * 20000).astype(np.int16)


def found(burst: np.ndarray, heard: np.ndarray) -> int | None:
    """Return where *burst* begins in *heard*, None where it does not."""
    size = 1 << (len(heard) + len(burst)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(burst, size)), size)
    likeness = np.abs(likeness[: len(heard) - len(burst)])
    best = int(np.argmax(likeness))
    return best if likeness[best] > 8 * np.mean(likeness) else None


def delays(folder: Path) -> list[float]:
    """Play bursts into alice's microphone; return how much later each is heard by bob, in milliseconds."""
    burst = noise()
    wav = folder / "burst.wav"
    write_wav(wav, burst.tobytes(), RATE)
    mouth, ear = Recording("alice_mouth.monitor"), Recording("bob_ear.monitor")
    time.sleep(0.5)
    for _ in range(BURSTS):
        subprocess.run(["paplay", "--device=alice_mouth", str(wav)], check=True)
        time.sleep(0.8)
    said, heard = mouth.stop(), ear.stop()
    later = round((mouth.begun - ear.begun) * RATE)
    times = []
    at = 0
    while at + LONGEST < len(said):
        place = found(burst.astype(np.float32), said[at : at + LONGEST // 2])
        if place is None:
            at += LONGEST // 4
            continue
        begin = at + place
        there = begin + later
        window = heard[max(0, there) : there + LONGEST // 2]
        if len(window) > BURST and (reached := found(burst.astype(np.float32), window)) is not None:
            times.append(reached / RATE * 1e3)
        at = begin + BURST
    return times


@contextmanager
def agents(kms: Kms, engine: str) -> Iterator[Pids]:
    """Have alice in a call with bob, both on the devices."""

    def made(name: str, **more: object) -> Agent:
        audio = {
            "codecs": ["G722"], "engine": engine, "device": "default",
            "sound": {"input": f"{name} mic", "output": f"{name} ear"},
        }  # fmt: skip
        given = settings(name, kms, audio=audio, keys={"suites": ["128"]}, isolated=False, **more)
        return Agent(name, given)

    with made("bob") as bob, made("alice", peer=bob) as alice:
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        yield alice.child.pid, bob.child.pid


@contextmanager
def baresips(folder: Path) -> Iterator[Pids]:
    """Have two baresips in a call, both on the devices."""
    folder.mkdir()
    names = ("bob", "alice")
    pcm = [
        f'pcm.{name}_{what} {{ type pulse device "{name}_{what}{end}" }}\n'
        for name in names
        for what, end in (("mic", ""), ("ear", ""))
    ]
    asound = folder / "asound.conf"
    asound.write_text("".join(pcm))
    environment = {**os.environ, "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{asound}"}
    processes: list[Process] = []
    port = {name: free_port("127.0.0.1") for name in names}
    try:
        for name in names:
            home = folder / name
            home.mkdir()
            account = f"<sip:{name}@127.0.0.1:{port[name]};transport=udp>;regint=0;mediaenc=srtp-mand"
            (home / "accounts").write_text(f"{account};audio_codecs=g722/16000/1;answermode=auto\n")
            (home / "contacts").write_text("")
            first = 20000 if name == "bob" else 20100
            (home / "config").write_text(
                BARESIP.format(name=name, port=port[name], first=first, last=first + 40)
            )
            dial = ["-e", f"/dial sip:bob@127.0.0.1:{port['bob']}"] if name == "alice" else []
            processes.append(Process(["baresip", "-f", home, *dial], env=environment, name=name))
            processes[-1].wait_for("Call established" if dial else "baresip is ready")
        yield tuple(process.pid for process in processes)
    finally:
        for process in processes:
            process.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    latency: dict[str, list[float]] = {}
    cost: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Pulse(folder / "pulse") as pulse:
            kms = Kms(folder / "kms")
            for user in ("alice", "bob"):
                kms.add_user(user)
                pulse.add_person(user)
            with kms:
                for number in range(options.rounds):
                    subjects: dict[str, Callable[[], object]] = {
                        "baresip": lambda number=number: baresips(folder / f"baresip-{number}"),
                        "native": lambda: agents(kms, "native"),
                        "python": lambda: agents(kms, "python"),
                    }
                    for subject, call in subjects.items():
                        with call() as pids:  # type: ignore[attr-defined]
                            time.sleep(SETTLING_S)
                            before, since = sum(map(cpu_s, pids)), time.monotonic()
                            times = delays(folder)
                            used = (sum(map(cpu_s, pids)) - before) / (time.monotonic() - since) / len(pids)
                        middle = statistics.median(times) if times else float("nan")
                        latency.setdefault(subject, []).append(middle)
                        cost.setdefault(subject, []).append(used)
                        print(
                            f"round {number + 1}, {subject}: {middle:.0f} ms ({len(times)} bursts), "
                            f"{used:.1%} of a core",
                            flush=True,
                        )
    print(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| subject | mouth to ear | beside baresip | CPU of an end |\n|---|---|---|---|")
    for subject, times in latency.items():
        ratios = [one / other for one, other in zip(times, latency["baresip"], strict=True)]
        print(
            f"| {subject} | {statistics.median(times):.0f} ms | {statistics.median(ratios):.2f} "
            f"| {statistics.median(cost[subject]):.1%} |"
        )


if __name__ == "__main__":
    main()
