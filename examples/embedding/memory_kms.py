"""A KMS that lives in this process, so that the examples need no server.

It does what a KMS must do and no more: it knows its users' keys, makes tickets, and opens them for anyone who
they are for. A program of yours asks a real one over HTTP instead: ``sipmikey.kms.client.HttpKmsClient``.
"""

from __future__ import annotations

from sipmikey.mikey.errors import NotAuthorized, UnknownKey
from sipmikey.mikey.secret import Secret
from sipmikey.ticket import (
    TICKET_REQUEST,
    AuthenticatedInit,
    Environment,
    KmsInit,
    PreSharedKey,
    RequestAtKms,
    ResolveAtKms,
    TicketProtectionKey,
)


class MemoryKms:
    """Takes REQUEST_INIT and RESOLVE_INIT, and returns the response."""

    def __init__(self, env: Environment, identity: str) -> None:
        self.identity = identity
        self._env = env
        self._users: dict[str, PreSharedKey] = {}
        self._tpk = TicketProtectionKey(key=Secret(env.random(32)), key_id=b"tpk-1")

    def add(self, user: str) -> PreSharedKey:
        """Make a user known; return the key that the user and this KMS share from now on."""
        key = PreSharedKey(key=Secret(self._env.random(32)), key_id=user.encode())
        self._users[user] = key
        return key

    def ask(self, message: bytes) -> bytes:
        """Answer a message. A real KMS is asked over HTTPS."""
        init = KmsInit(self._env, message)
        user = init.identity or ""
        key = self._users.get(user)
        if key is None or init.psk_id != key.key_id:
            raise UnknownKey(f"{user or 'nobody'} is not a user of {self.identity}")
        authenticated = init.verify_psk(key, owner=user, kms=self.identity)
        if init.kind is TICKET_REQUEST:
            return self._grant(authenticated)
        return self._resolve(authenticated)

    def _grant(self, authenticated: AuthenticatedInit) -> bytes:
        request = RequestAtKms(self._env, authenticated)
        if request.policy.initiator != request.identity:
            raise NotAuthorized(f"{request.identity} asks for a ticket of {request.policy.initiator}")
        response, _ = request.grant(request.policy, self._tpk, kms=self.identity)
        return response

    def _resolve(self, authenticated: AuthenticatedInit) -> bytes:
        resolve = ResolveAtKms(self._env, authenticated)
        contents = resolve.open(self._tpk)
        if not resolve.policy.allows_responder(resolve.identity):
            raise NotAuthorized(f"the ticket is not for {resolve.identity}")
        return resolve.respond(contents, answerer=resolve.identity, kms=self.identity)
