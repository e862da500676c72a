"""MIKEY Error messages (RFC 3830 section 5.1.2, RFC 6043 section 5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sipmikey.keys.derivation import ProtectionKeys
from sipmikey.keys.suite import Suite
from sipmikey.mikey.errors import LocalError, MalformedMessage, PeerReportedError, UnexpectedMessage
from sipmikey.mikey.header import Header
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.registry import CsIdMapType, DataType, ErrorNo
from sipmikey.mikey.security_policy import SP
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import ERR, V
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.protection import seal, verify


def build_error(
    env: Environment,
    about: Header,
    errors: Sequence[ErrorNo],
    *,
    suite: Suite | None = None,
    protection: ProtectionKeys | None = None,
    supported: Sequence[SP] = (),
) -> bytes:
    """Return the Error message about a message with the header *about*.

    With *suite* and *protection*, the keys of that message, the Error is authenticated. *supported* lists
    the security policies this side supports, in Ticket Transfer. An Error is never about an Error: that
    is a `LocalError`.
    """
    if about.data_type is DataType.ERROR:
        raise LocalError("an Error message is not answered (RFC 6043 section 5.4)")
    if not errors:
        raise LocalError("an Error message gives at least one error")
    header = Header(data_type=DataType.ERROR, prf=about.prf, csb_id=about.csb_id, map_type=CsIdMapType.EMPTY)
    payloads: list[Payload] = [T(timestamp=env.timestamp())]
    payloads += [ERR(error_no=number) for number in errors]
    payloads += supported
    if suite is None or protection is None:
        return Message.build(header, payloads).raw
    return seal(header, payloads, suite, protection, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMessage:
    """An Error message received. ``authenticated`` tells whether its MAC verified."""

    errors: tuple[ErrorNo | int, ...]
    supported: tuple[SP, ...]
    authenticated: bool

    @classmethod
    def read(
        cls, env: Environment, message: Message, about: Header, suite: Suite, protection: ProtectionKeys
    ) -> Self:
        """Read the Error message a peer sent about the message with the header *about*.

        Raises `UnexpectedMessage` when it is about another message, `AuthenticationFailure` when it has a
        MAC that does not verify, `InvalidTimestamp` outside the clock skew.
        """
        if message.header.data_type is not DataType.ERROR:
            raise UnexpectedMessage("is not an Error message", field="data type")
        if (message.header.prf, message.header.csb_id) != (about.prf, about.csb_id):
            raise UnexpectedMessage("the Error is about another message", field="HDR")
        env.check_timestamp(message.one(T).timestamp, "Error")
        errors = message.all(ERR)
        if not errors:
            raise MalformedMessage("is missing", field="ERR", section="RFC 6043 section 5.4")
        authenticated = message.find(V) is not None
        if authenticated:
            verify(message, suite, protection, b"")
        return cls(
            errors=tuple(error.error_no for error in errors),
            supported=message.all(SP),
            authenticated=authenticated,
        )

    def exception(self) -> PeerReportedError:
        """Return this message as an exception."""
        names = ", ".join(
            f"{error.name} ({int(error)})" if isinstance(error, ErrorNo) else str(error)
            for error in self.errors
        )
        kind = "authenticated" if self.authenticated else "unauthenticated"
        return PeerReportedError(
            f"the peer answered with an {kind} Error message: {names}",
            error_numbers=tuple(int(error) for error in self.errors),
            authenticated=self.authenticated,
        )
