"""Received descriptions: which MIKEY messages they carry, and which m-lines each covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.sdp.attribute import ATTRIBUTE, MIKEY, KeyMgmt, find, protocol_ids
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import KeyMgmtDuplicate, KeyMgmtMissing
from sipmikey.sdp.mapping import MediaStream, streams


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedMessage:
    """A MIKEY message, the levels it is at, and the m-lines (indexes) it covers."""

    message: bytes
    levels: tuple[int | None, ...]
    covers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDescription:
    """A description of the peer. ``protocols`` are the key management protocols it lists, in order."""

    document: Document
    streams: tuple[MediaStream, ...]
    attributes: tuple[KeyMgmt, ...]

    @classmethod
    def parse(cls, sdp: str, *, max_bytes: int) -> RemoteDescription:
        """Read a description. Raises `SdpMalformed`, `KeyMgmtMalformed` or `KeyMgmtDuplicate`."""
        document = Document.parse(sdp)
        return cls(
            document=document,
            streams=streams(document),
            attributes=find(document, max_bytes=max_bytes),
        )

    @property
    def protocols(self) -> tuple[str, ...]:
        """The key management protocols listed, in order."""
        return protocol_ids(self.attributes)

    def carried(self, keyed: Sequence[MediaStream]) -> tuple[CarriedMessage, ...]:
        """Return the MIKEY messages that cover the m-lines *keyed*, each once.

        An attribute at media level overrides one at session level for its m-line (RFC 4567 section 3.1).
        Raises `KeyMgmtMissing` for an m-line that none covers.
        """
        mikey = {item.level: item.message for item in self.attributes if item.protocol == MIKEY}
        levels: dict[bytes, list[int | None]] = {}
        covers: dict[bytes, list[int]] = {}
        for stream in keyed:
            level = stream.index if stream.index in mikey else None
            message = mikey.get(level)
            if message is None:
                raise KeyMgmtMissing(self._missing(stream), field=ATTRIBUTE)
            covers.setdefault(message, []).append(stream.index)
            places = levels.setdefault(message, [])
            if level not in places:
                places.append(level)
        return tuple(
            CarriedMessage(message=message, levels=tuple(levels[message]), covers=tuple(indexes))
            for message, indexes in covers.items()
        )

    def only_message(self, keyed: Sequence[MediaStream]) -> bytes:
        """Return the one MIKEY message that covers every m-line *keyed*, at whatever level.

        Raises `KeyMgmtMissing`, and `KeyMgmtDuplicate` when several messages share the m-lines.
        """
        found = self.carried(keyed)
        if len(found) != 1:
            raise KeyMgmtDuplicate(
                f"{len(found)} different MIKEY messages where one answers", field=ATTRIBUTE
            )
        return found[0].message

    @property
    def has_mikey(self) -> bool:
        """True where there is a MIKEY attribute."""
        return any(item.protocol == MIKEY for item in self.attributes)

    def _missing(self, stream: MediaStream) -> str:
        others = sorted({item.protocol for item in self.attributes if item.protocol != MIKEY})
        if others:
            return f"{stream.name}: no {MIKEY} attribute, only {', '.join(others)}"
        names = {name for level in (None, stream.index) for _, name, _ in self.document.attributes(level)}
        for other in ("crypto", "fingerprint"):
            if other in names:
                return f"{stream.name}: keyed with a={other} instead"
        return f"{stream.name}: no {MIKEY} attribute"
