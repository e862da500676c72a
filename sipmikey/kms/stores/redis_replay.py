"""The replay cache in Redis or Valkey, for workers on many machines."""

from __future__ import annotations

from collections.abc import Sequence

import redis.asyncio
from redis.asyncio.retry import Retry
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

_ADD = """
local floor = redis.call('GET', KEYS[2])
if not floor then
  floor = ARGV[3]
  redis.call('SET', KEYS[2], floor)
end
if tonumber(ARGV[1]) < tonumber(floor) then return 0 end
if redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[2]) then return 1 end
return 0
"""
"""Checks the floor and adds, in one step. The floor is set when the server has no memory of one."""

_Question = tuple[bytes, int, int, int]


class RedisReplayCache:
    """Satisfies `ReplayCache`. The server must not evict keys (``maxmemory-policy noeviction``).

    Redis forgets on restart unless it persists; a floor kept beside the digests shows it, and then only what
    is stamped after the loss is accepted. What arrives while a round trip is under way shares the next one.
    """

    def __init__(self, url: str, *, prefix: str = "sipmikey:replay:") -> None:
        try:
            self._redis = redis.asyncio.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[RedisConnectionError],
            )
        except ValueError as error:
            raise LocalError(f"replay cache {url!r}: {error}") from None
        self._prefix = prefix.encode()
        self._floor = self._prefix + b"floor"
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
            pipeline.eval(_ADD, 2, self._prefix + digest, self._floor, stamped_s, seconds, now_s)
        results: list[object] = await pipeline.execute(raise_on_error=False)
        return results

    async def ping(self) -> None:
        """Check that the server answers and takes writes.

        A server without a floor gets one, before the first message rather than with it: what is stamped in
        the second before the floor is refused.
        """
        try:
            await self._redis.set(self._prefix + b"ping", b"", ex=1)
            await self._redis.set(self._floor, system.now_ns() // 1_000_000_000, nx=True)
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
