"""What a worker serves beside key management: pages at paths of their own."""

from __future__ import annotations

from typing import Protocol

from sipmikey.kms.server.protocol import RequestHead, Response


class Pages(Protocol):
    """Answers what is asked at some paths."""

    def serves(self, path: bytes) -> bool:
        """Return whether *path* is one of theirs."""
        ...

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one request."""
        ...
