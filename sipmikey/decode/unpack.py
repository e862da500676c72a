"""Unpacking what is compressed with gzip, as captures often are."""

from __future__ import annotations

import zlib

from sipmikey.mikey.errors import LocalError

MAX_CAPTURE_OCTETS = 256 << 20
"""Largest input, unpacked."""

_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_STEP, _MOST = 4096, 1 << 20
"""Octets taken and given at a time: what a member leaves over is copied, so little is taken."""


def unpacked(octets: bytes, name: str) -> bytes:
    """Return *octets* without their gzip compression, or as they are.

    A file cut short gives what there is. Raises `LocalError` for one that is damaged at once or larger than
    `MAX_CAPTURE_OCTETS` when unpacked.
    """
    if not octets.startswith(_MAGIC):
        return octets
    found = bytearray()
    position, worker = 0, zlib.decompressobj(_GZIP)
    try:
        while position < len(octets):
            piece = octets[position : position + _STEP]
            found += worker.decompress(piece, _MOST)
            if len(found) > MAX_CAPTURE_OCTETS:
                limit = MAX_CAPTURE_OCTETS >> 20
                raise LocalError(f"{name} has more than {limit} MiB unpacked: cut it down")
            position += len(piece) - len(worker.unconsumed_tail) - len(worker.unused_data)
            if worker.eof:
                if octets[position : position + 2] != _MAGIC:
                    break
                worker = zlib.decompressobj(_GZIP)
    except zlib.error as error:
        if not found:
            raise LocalError(f"{name}: damaged gzip data: {error}") from None
    return bytes(found)
