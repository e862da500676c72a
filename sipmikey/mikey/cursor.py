"""A bounds-checked reader of octets that names the field it fails on."""

from __future__ import annotations

from sipmikey.mikey.errors import MalformedMessage


class Reader:
    """Reads big-endian fields from ``data[start:end]``.

    ``base`` is the offset of ``data`` in the whole message; errors give offsets in the message. Every
    read names its field; a read past the end raises `MalformedMessage`. ``depth`` counts how many readers
    this one was taken from.
    """

    __slots__ = ("_data", "base", "depth", "end", "position")

    def __init__(
        self, data: bytes, *, start: int = 0, end: int | None = None, base: int = 0, depth: int = 0
    ) -> None:
        self._data = data
        self.position = start
        self.end = len(data) if end is None else end
        self.base = base
        self.depth = depth

    @property
    def offset(self) -> int:
        """Offset of the next octet in the whole message."""
        return self.base + self.position

    @property
    def remaining(self) -> int:
        """Octets left."""
        return self.end - self.position

    def _short(self, field: str, needed: int) -> MalformedMessage:
        return MalformedMessage(
            f"needs {needed} octets, {self.remaining} left", field=field, offset=self.offset
        )

    def u8(self, field: str) -> int:
        """Read one octet."""
        at = self.position
        if at >= self.end:
            raise self._short(field, 1)
        self.position = at + 1
        return self._data[at]

    def u16(self, field: str) -> int:
        """Read two octets."""
        at = self.position
        if at + 2 > self.end:
            raise self._short(field, 2)
        self.position = at + 2
        return self._data[at] << 8 | self._data[at + 1]

    def u32(self, field: str) -> int:
        """Read four octets."""
        return int.from_bytes(self.take(4, field), "big")

    def take(self, count: int, field: str) -> bytes:
        """Read *count* octets."""
        at = self.position
        if at + count > self.end:
            raise self._short(field, count)
        self.position = at + count
        return self._data[at : at + count]

    def sub(self, count: int, field: str) -> Reader:
        """Return a reader of the next *count* octets, and step over them."""
        at = self.position
        if at + count > self.end:
            raise self._short(field, count)
        self.position = at + count
        return Reader(self._data, start=at, end=at + count, base=self.base, depth=self.depth + 1)

    def finish(self, what: str) -> None:
        """Raise `MalformedMessage` unless every octet has been read."""
        if self.position != self.end:
            raise MalformedMessage(
                f"{self.remaining} octets after the last payload", field=what, offset=self.offset
            )
