"""The replay cache in Redis or Valkey, for workers on many machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from sipmikey import system
from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.batch import Batch
from sipmikey.mikey.errors import LocalError

TIMEOUT_S = 1.0
BATCH = 256
"""Most messages asked about in one round trip."""

_FLOOR = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local kept = redis.call('HMGET', KEYS[1], 'run', 'stamped_s')
local floor = kept[2]
if kept[1] ~= run then
  floor = string.format('%d', tonumber(ARGV[1]) + (kept[1] and 1 or 0))
  redis.call('HSET', KEYS[1], 'run', run, 'stamped_s', floor)
end
"""
"""Finds the floor: set when this run of this server has none of its own.

A replica that was promoted, and a server that read an older file at its start, have the floor of another run,
and may lack the digests that came last, of this very second too.
"""

_ADD = (
    _FLOOR
    + """
if tonumber(ARGV[2]) < tonumber(floor) then return 0 end
if redis.call('SET', KEYS[2], '', 'NX', 'EX', ARGV[3]) then return 1 end
return 0
"""
)
"""Checks the floor and adds, in one step."""

_Question = tuple[bytes, int, int, int]


class RedisReplayCache:
    """Satisfies `ReplayCache`. The server must not evict keys (``maxmemory-policy noeviction``).

    Redis forgets on restart unless it persists, and a replica that takes over may lack what came last. A
    floor kept beside the digests shows both, and then only what is stamped after the loss is accepted. What
    arrives while a round trip is under way shares the next one.
    """

    def __init__(self, url: str, *, prefix: str = "sipmikey:replay:") -> None:
        try:
            self._redis = _client(url)
        except ValueError as error:
            raise LocalError(f"replay cache {without_password(url)!r}: {error}") from None
        self._prefix = prefix.encode()
        self._floor = self._prefix + b"mark"
        self._batch = Batch(self._ask, size=BATCH)

    async def add(self, digest: bytes, *, stamped_s: int, expires_s: int, now_s: int) -> bool:
        """Remember *digest*; return False if it was there, or may have been before memory was lost."""
        answer = await self._batch.put((digest, stamped_s, max(1, expires_s - now_s + 1), now_s))
        if isinstance(answer, BaseException):
            raise _unavailable(answer)
        return bool(answer)

    async def _ask(self, questions: Sequence[_Question]) -> Sequence[object]:
        try:
            return await self._round_trip(questions)
        except (RedisError, OSError, TimeoutError) as error:
            return [error] * len(questions)

    async def _round_trip(self, questions: Sequence[_Question]) -> list[object]:
        pipeline = self._redis.pipeline(transaction=False)
        for digest, stamped_s, seconds, now_s in questions:
            pipeline.eval(_ADD, 2, self._floor, self._prefix + digest, now_s, stamped_s, seconds)
        results: list[object] = await pipeline.execute(raise_on_error=False)
        return results

    async def ping(self) -> None:
        """Check that the server answers and takes writes.

        A server without a floor gets one, before the first message rather than with it: what is stamped in
        the second before the floor is refused.
        """
        try:
            await self._redis.set(self._prefix + b"ping", b"", ex=1)
            await self._redis.eval(_FLOOR, 1, self._floor, system.now_ns() // 1_000_000_000)
        except (RedisError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error

    async def forget_expired(self, *, now_s: int) -> int:
        """Do nothing: the server forgets by itself."""
        return 0

    async def close(self) -> None:
        """Close the connections; what is still asked gets `StoreUnavailable`."""
        await self._batch.finish()
        await self._redis.aclose()


def _unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"replay cache: {type(error).__name__}: {error}")


_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": TIMEOUT_S,
    "socket_connect_timeout": TIMEOUT_S,
    "retry_on_error": [RedisConnectionError],
}


def _client(url: str) -> redis.asyncio.Redis:
    """Return the client of a server (``redis://``), or of the master that Sentinels name.

    ``redis+sentinel://[user:password@]host:port,host:port/NAME[/DATABASE]``; ``rediss+sentinel://`` is TLS.
    Raises ValueError.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("redis+sentinel", "rediss+sentinel"):
        return redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 1), **_OPTIONS)
    login, _, place = rest.rpartition("@")
    hosts, _, path = place.partition("/")
    name, _, database = path.partition("/")
    if not name or not (database or "0").isdecimal():
        raise ValueError("write redis+sentinel://host:port,host:port/NAME/DATABASE")
    user, _, password = login.rpartition(":") if ":" in login else ("", "", login)
    options: dict[str, Any] = {**_OPTIONS, "ssl": scheme.startswith("rediss")}
    sentinel = Sentinel([_host(host) for host in hosts.split(",")], **options)  # type: ignore[no-untyped-call]
    client: redis.asyncio.Redis = sentinel.master_for(
        name,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        retry=Retry(NoBackoff(), 1),
        **options,
    )
    return client


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"a Sentinel is host:port, not {text!r}")
    return host.strip("[]"), int(port)


def without_password(url: str) -> str:
    """Return *url* as it may be shown."""
    return re.sub(r"(?<=//)[^/@]*@", "...@", url)
