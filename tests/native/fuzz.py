"""Give the Python core and the native one the same inputs and compare all that comes out.

Run: python -m tests.native.fuzz [--count N] [--seed S]

A third of the inputs are valid, half are valid ones mutated, the rest is noise behind a plausible start.
Results are compared by value, every twentieth also by its representation, which tells a member from its
number; errors by class, text, field, offset and section. The first difference ends the run with status 1 and
shows the input; the same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

os.environ.pop("SIPMIKEY_PURE", None)  # this program compares the two

from sipmikey.keys.derivation import ProtectionKeys
from sipmikey.keys.suite import SUITE_128, SUITE_256
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.message import Message, build_message
from sipmikey.mikey.registry import EncrAlg, MacAlg, PrfFunc
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.native import REPLACED, native
from tests.native import inputs
from tests.native.exchanges import Seeded, Site

Call = tuple[str, tuple[Any, ...], dict[str, Any]]

REPRESENTED = 20
"""One in so many results is compared by its representation too."""


def outcome(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any]:
    """Return what a call gave: ("gave", result), or what it raised in words that can be compared."""
    try:
        return "gave", function(*args, **kwargs)
    except SipmikeyError as error:
        place = tuple(getattr(error, name, None) for name in ("field", "offset", "section"))
        return "raised", (type(error).__name__, str(error), place)


class Inputs:
    """Calls to make on both cores, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._pool: list[tuple[int, bytes]] = []
        self._sites: list[Site] = []
        self._last = b"\x01\x0e\x00\x01"

    def calls(self, count: int) -> Iterator[Call]:
        """Yield *count* calls, each of one input."""
        others = (self._key_data, self._ticket_data, self._initiator_data, self._keys)
        kinds = (self._message,) * 12 + others + (self._exchange,) * 4
        for number in range(count):
            if number % 20_000 == 0:
                self._pool = inputs.payload_pool(self._rng, 2_000)
            if number % 1_000 == 0:
                self._sites = [Site(self._rng, suite) for suite in (SUITE_128, SUITE_256)]
            yield self._rng.choice(kinds)()

    def _varied(self, octets: bytes) -> bytes:
        rng = self._rng
        chance = rng.random()
        if chance < 0.35:
            varied = octets
        elif chance < 0.85:
            varied = inputs.mutated(rng, octets, self._last)
        else:
            varied = octets[: rng.randrange(20)] + rng.randbytes(rng.randrange(60))
        self._last = octets
        return varied

    def _message(self) -> Call:
        data = self._varied(inputs.message(self._rng, self._pool))
        return "parse_message", (data, self._rng.choice(inputs.LIMITS)), {}

    def _exchange(self) -> Call:
        return self._rng.choice(self._sites).call()

    def _key_data(self) -> Call:
        data = self._varied(inputs.key_data(self._rng))
        return "decode_key_data", (data, self._rng.choice(inputs.LIMITS)), {}

    def _ticket_data(self) -> Call:
        data = self._varied(inputs.ticket_data(self._rng))
        base = self._rng.choice((0, 0, 77))
        return "decode_ticket_data", (data, self._rng.choice(inputs.LIMITS)), {"base": base}

    def _initiator_data(self) -> Call:
        data = self._varied(inputs.initiator_data(self._rng))
        return "decode_initiator_data", (data, self._rng.choice(inputs.LIMITS)), {"base": 5}

    def _keys(self) -> Call:
        """KEMACs sealed, opened with the right and with other keys, and MACs."""
        rng = self._rng
        key = Secret(rng.randbytes(rng.choice((16, 20, 32, 33, 64))))
        func = rng.choice(tuple(PrfFunc))
        label = rng.randbytes(rng.choice((20, 60, 80)))
        kind = rng.randrange(4)
        if kind == 0:
            return (
                "Prf.derive",
                (func, key, label, rng.choice((0, 1, 7, 8, 80, 112, 128, 160, 161, 256, 600))),
                {},
            )
        if kind == 1:
            return "compute_mac", (rng.choice(tuple(MacAlg)), key, rng.randbytes(rng.randrange(700))), {}
        keys = parse_keys(self._varied(inputs.key_data(rng)))
        protection = ProtectionKeys(REAL["Prf"](func, key), label)
        words = {"csb_id": rng.getrandbits(32), "timestamp": Timestamp.ntp_utc(rng.getrandbits(62))}
        algorithm = rng.choice(tuple(EncrAlg))
        if kind == 2:
            return "seal_keys", (keys, algorithm, protection), words
        status, kemac = outcome(REAL["seal_keys"], (keys, algorithm, protection), words)
        if status == "raised":
            return "encode_key_data", (keys,), {}
        if rng.random() < 0.3:
            words["csb_id"] ^= 1  # type: ignore[operator]
        return (
            "open_keys",
            (kemac, protection),
            words | {"limits": rng.choice(inputs.LIMITS), "what": "message"},
        )


def parse_keys(data: bytes) -> tuple[Any, ...]:
    """Return the keys of a plaintext, or none where it is not one."""
    status, keys = outcome(REAL["decode_key_data"], (data, inputs.LIMITS[0]), {})
    return keys if status == "gave" else ()


REAL: dict[str, Callable[..., Any]] = {name: native(marked) for name, marked in tuple(REPLACED.items())}
"""The native namesake of each replaced function and class."""


def both(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the Python and the native function of a name; ``Prf.derive`` makes the object and calls it."""
    if name == "Prf.derive":
        pure, other = REPLACED["Prf"], REAL["Prf"]
        return (
            lambda func, key, label, bits: pure(func, key).derive(label, bits),
            lambda func, key, label, bits: other(func, key).derive(label, bits),
        )
    return REPLACED[name], REAL[name]


def difference(call: Call, *, represented: bool) -> str | None:
    """Make a call on both cores; return in words how the outcomes differ, or None."""
    name, args, kwargs = call
    pure, other = both(name)
    fresh = args.fresh if isinstance(args, Seeded) else lambda: args
    expected = outcome(pure, fresh(), kwargs)
    found = outcome(other, fresh(), kwargs)
    if expected != found or (represented and repr(expected) != repr(found)):
        return f"{name}{args!r} {kwargs!r}\n  python: {expected!r}\n  native: {found!r}"
    if name == "parse_message" and found[0] == "gave":
        return _rebuilt(found[1])
    return None


def _rebuilt(message: Message) -> str | None:
    """What parses builds to the same octets, on both cores."""
    expected = outcome(REPLACED["build_message"], (message.header, message.payloads), {})
    found = outcome(build_message, (message.header, message.payloads), {})
    if expected != found or (found[0] == "gave" and found[1] != message):
        return f"build_message {message!r}\n  python: {expected!r}\n  native: {found!r}"
    return None


def run(count: int, seed: int, *, progress: bool = False) -> tuple[Counter[str], str | None]:
    """Try *count* inputs; return how many of each kind came to what, and the first difference."""
    tally: Counter[str] = Counter()
    started = time.monotonic()
    for number, call in enumerate(Inputs(seed).calls(count), 1):
        found = difference(call, represented=number % REPRESENTED == 0)
        tally[call[0]] += 1
        if found is not None:
            return tally, found
        if progress and number % 100_000 == 0:
            print(f"{number} inputs, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return tally, None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    args = parser.parse_args()
    if not REPLACED:
        print("the native core does not run here: make native", file=sys.stderr)
        return 2
    tally, found = run(args.count, args.seed, progress=True)
    if found is not None:
        print(found)
        return 1
    print(f"seed {args.seed}: {sum(tally.values())} inputs agree: {dict(tally)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
