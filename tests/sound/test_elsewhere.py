"""The way of sound on a system that is not Linux: nothing of Linux is imported, and devices run.

CoreAudio needs a Mac. Here `miniaudio` runs its null devices under that name, in a process in which the
standard library lacks what only Linux has.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, multiprocessing, os, select, socket, subprocess, sys, time
import aioice, miniaudio, numpy, samplerate

sys.platform = "darwin"
for module, names in (
    (select, ("epoll", "EPOLLIN")), (socket, ("AF_NETLINK", "AF_PACKET", "NETLINK_ROUTE")),
    (time, ("CLOCK_BOOTTIME",)), (os, ("sched_getaffinity", "eventfd", "memfd_create")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

NULL = [miniaudio.Backend.NULL]
real = miniaudio.Devices.__init__

def devices(self, backends=None):
    real(self, NULL)
    self.backend = "Core Audio"

miniaudio.Devices.__init__ = devices
for kind in (miniaudio.CaptureDevice, miniaudio.PlaybackDevice):
    def started(self, *given, real=kind.__init__, **named):
        real(self, *given, **{**named, "backends": NULL})
    kind.__init__ = started

import sipmikey.cli.devices, sipmikey.nat.addresses, sipmikey.nat.probe
import sipmikey.agent.python_media.engine, sipmikey.media.endpoint, sipmikey.sound.trial
from sipmikey.agent.python_media.devices import check_devices
from sipmikey.nat.addresses import asleep_s
from sipmikey.sound.device_room import DeviceRoom
from sipmikey.sound.devices import Direction
from sipmikey.sound.settings import Role, SoundSettings
from sipmikey.sound.samples import silence
import threading

opened, heard = set(), threading.Event()

class Peer:
    def speak(self, count):
        return silence(count)

    def listen(self, samples):
        heard.set()

def tell(news):
    opened.add((news.role, news.state))
    if {(Role.INPUT, "open"), (Role.OUTPUT, "open")} <= opened:
        both.set()

both = threading.Event()
check_devices()
for direction in Direction:
    sipmikey.sound.trial.open_and_close(direction)
room = DeviceRoom(SoundSettings(), tell)
room.room.enter(Peer())
room.use(1)
print(both.wait(20), heard.wait(20), asleep_s(), sorted(state for _, state in opened))
room.close()
"""


@pytest.mark.interop
def test_devices_run_where_nothing_of_linux_is(tmp_path: Path) -> None:
    """A process of its own: what the copies of a loaded one have imported is the subject."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True True 0.0 ['open', 'open']"
