"""The echo canceller takes the echo of a synthetic room out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, os
import numpy as np
import pjsua2 as pj
endpoint = pj.Endpoint()
endpoint.libCreate()
settings = pj.EpConfig()
settings.logConfig.level = 0
settings.logConfig.consoleLevel = 0
settings.uaConfig.threadCnt = 0
settings.uaConfig.mainThreadOnly = True
endpoint.libInit(settings)
from sipmikey.agent.pjsua.sound.devices import PjmediaEcho
from sipmikey.sound.samples import from_octets, to_octets
rate, block, seconds = 16000, 320, 10
random = np.random.default_rng(3)
count = rate * seconds
loudness = np.repeat(random.uniform(0, 1, count // 3200) ** 2, 3200)
played = (random.standard_normal(count) * 0.15 * loudness).astype(np.float32)
room = np.zeros(int(rate * 0.12))
start = int(rate * 0.03)
room[start] = 0.5
tail = len(room) - start
room[start:] += random.standard_normal(tail) * 0.08 * np.exp(-np.arange(tail) / (rate * 0.03))
heard = np.convolve(played, room)[:count].astype(np.float32)
echo = PjmediaEcho(200)
blocks = [
    from_octets(echo.cancel(to_octets(heard[at : at + block]), to_octets(played[at : at + block])))
    for at in range(0, count, block)
]
def power(samples):
    return float(10 * np.log10(np.mean(samples[count // 2 :] ** 2) + 1e-12))
left = np.concatenate(blocks)
print(json.dumps({"without": power(played) - power(heard), "with": power(played) - power(left)}), flush=1)
os._exit(0)
"""


@pytest.mark.interop
def test_the_return_loss_grows_by_twenty_decibels() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loss = json.loads(done.stdout.splitlines()[-1])
    assert loss["with"] > loss["without"] + 20
