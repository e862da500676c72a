"""The table of all sessions of one stack."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class _Listed(Protocol):
    sip_call_id: str
    tag: str


S = TypeVar("S", bound=_Listed)


class SessionTable(Generic[S]):
    """Where sessions are found: by Call-ID and our tag. Those that are over stay for late messages."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str], S] = {}
        self.living: list[S] = []

    def add(self, session: S) -> None:
        """List a new session."""
        self.sessions[session.sip_call_id, session.tag] = session
        self.living.append(session)

    def end(self, session: S) -> None:
        """The session is over; it is found until `forget`."""
        if session in self.living:
            self.living.remove(session)

    def forget(self, session: S) -> None:
        """Late messages for the session are answered as for no session."""
        self.sessions.pop((session.sip_call_id, session.tag), None)
