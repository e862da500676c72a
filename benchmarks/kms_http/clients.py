"""Compare HTTP client libraries for one KMS round trip: 700-byte POST, keep-alive, one at a time, loopback.

Run: python benchmarks/kms_http/clients.py [--requests N]
Prints the median round trip and the time of the first request (no TLS: the library's own cost).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import servers

from sipmikey.ports import free_port

Exchange = Callable[[bytes], Awaitable[bytes]]
HEADERS = {"Content-Type": "application/mikey"}


async def with_aiohttp(url: str, run: Callable[[Exchange], Awaitable[None]]) -> None:
    import aiohttp

    async with aiohttp.ClientSession(skip_auto_headers=("User-Agent", "Accept")) as session:

        async def exchange(body: bytes) -> bytes:
            async with session.post(url, data=body, headers=HEADERS) as response:
                return await response.read()

        await run(exchange)


async def with_httpx(url: str, run: Callable[[Exchange], Awaitable[None]]) -> None:
    import httpx

    async with httpx.AsyncClient() as client:

        async def exchange(body: bytes) -> bytes:
            return (await client.post(url, content=body, headers=HEADERS)).content

        await run(exchange)


async def with_httpcore(url: str, run: Callable[[Exchange], Awaitable[None]]) -> None:
    import httpcore

    async with httpcore.AsyncConnectionPool() as pool:

        async def exchange(body: bytes) -> bytes:
            return (await pool.request("POST", url, content=body, headers=HEADERS)).content

        await run(exchange)


async def with_ours(url: str, run: Callable[[Exchange], Awaitable[None]]) -> None:
    from sipmikey.kms.client.connection import Connection
    from sipmikey.kms.client.exchange import KmsUrl

    site = KmsUrl.parse(url)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, site.host, site.port)
    head = f"POST {site.path} HTTP/1.1\r\nHost: {site.authority}\r\nContent-Type: application/mikey\r\n"

    async def exchange(body: bytes) -> bytes:
        octets = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        return bytes((await connection.exchange(octets)).body)

    await run(exchange)
    connection.close()


CLIENTS = {"sipmikey": with_ours, "aiohttp": with_aiohttp, "httpx": with_httpx, "httpcore": with_httpcore}


async def measure(name: str, url: str, requests: int) -> dict[str, float]:
    times: list[float] = []
    began = time.perf_counter()

    async def run(exchange: Exchange) -> None:
        body = os.urandom(700)
        for _ in range(requests):
            start = time.perf_counter()
            assert await exchange(body) == body
            times.append(time.perf_counter() - start)

    await CLIENTS[name](url, run)
    first = times[0] * 1e6
    return {
        "p50_us": round(statistics.median(times) * 1e6, 1),
        "first_us": round(first, 1),
        "all_s": round(time.perf_counter() - began, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1500)
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as scratch:
        port = free_port("127.0.0.1")
        program = servers.PROGRAMS["uvicorn uvloop+httptools"].format(port=port)
        Path(scratch, "echo.py").write_text(f"{servers.ECHO}\n{program}\n", encoding="ascii")
        server = subprocess.Popen(["taskset", "-c", "0", sys.executable, "echo.py"], cwd=scratch)
        try:
            servers.await_listener(port, server)
            for _ in range(3):
                for name in CLIENTS:
                    figures = asyncio.run(measure(name, f"http://127.0.0.1:{port}/k", options.requests))
                    print(json.dumps({"client": name, **figures}))
        finally:
            server.terminate()
            server.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
