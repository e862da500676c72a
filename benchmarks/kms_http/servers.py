"""Compare HTTP servers on the KMS's kind of traffic: 1 KB POST echo, keep-alive, one core each side.

Run: python benchmarks/kms_http/servers.py [--rounds N] [--requests N]
Prints server CPU per request (the figure that counts on a shared machine) and requests per second.
Servers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import load

from sipmikey.ports import free_port

ECHO = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    event = await receive()
    body = event["body"]
    while event["more_body"]:
        event = await receive()
        body += event["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/mikey"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""

PROGRAMS = {
    "uvicorn uvloop+httptools": "import uvicorn; uvicorn.run(app, port={port}, loop='uvloop',"
    " http='httptools', access_log=False, log_level='error', ws='none')",
    "uvicorn asyncio+h11": "import uvicorn; uvicorn.run(app, port={port}, loop='asyncio', http='h11',"
    " access_log=False, log_level='error', ws='none')",
    "granian": "import granian, pathlib, sys; sys.path.insert(0, '.'); granian.Granian('echo:app',"
    " port={port}, interface='asgi', log_access=False, log_enabled=False, workers=1).serve()",
    "hypercorn": "import asyncio, hypercorn.asyncio, hypercorn.config; c = hypercorn.config.Config();"
    " c.bind = ['127.0.0.1:{port}']; asyncio.run(hypercorn.asyncio.serve(app, c))",
    "aiohttp uvloop": "import uvloop; from aiohttp import web\n"
    "async def echo(request):\n"
    "    return web.Response(body=await request.read(), content_type='application/mikey')\n"
    "a = web.Application(); a.router.add_post('/k', echo)\n"
    "web.run_app(a, host='127.0.0.1', port={port}, loop=uvloop.new_event_loop(), print=None,"
    " access_log=None)",
}


def installed(name: str) -> bool:
    return importlib.util.find_spec(name.split()[0]) is not None


def await_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"server did not start: {process.args!r}")


def family(pid: int) -> list[int]:
    """Return *pid* and its children (some servers work in a child process)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(int(child) for child in children)]


def measure(name: str, requests: int, directory: Path) -> dict[str, float]:
    port = free_port("127.0.0.1")
    program = (
        ECHO + "\nif __name__ == '__main__':\n    " + PROGRAMS[name].format(port=port).replace("\n", "\n    ")
    )
    (directory / "echo.py").write_text(program, encoding="ascii")
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, "echo.py"], cwd=directory, start_new_session=True
    )
    try:
        await_listener(port, process)
        request = load.post("/k", os.urandom(1024))
        load.drive(("127.0.0.1", port), [request] * 500, connections=16)
        pids = family(process.pid)
        before = sum(load.cpu_seconds(pid) for pid in pids)
        outcome = load.drive(("127.0.0.1", port), [request] * requests, connections=16)
        used = sum(load.cpu_seconds(pid) for pid in pids) - before
        single = load.drive(("127.0.0.1", port), [request] * 500, connections=1)
        return {
            "cpu_us": used / requests * 1e6,
            "per_second": outcome.per_second,
            "one_connection_p50_us": single.percentile_us(0.5),
        }
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    results: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(options.rounds):
            for name in filter(installed, PROGRAMS):
                results.setdefault(name, []).append(measure(name, options.requests, Path(scratch)))
    for name, rounds in results.items():
        medians = {key: round(statistics.median(r[key] for r in rounds), 1) for key in rounds[0]}
        print(json.dumps({"server": name, **medians}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
