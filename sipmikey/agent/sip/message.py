"""SIP messages with the errors that the calls of this room know."""

from __future__ import annotations

from sipmikey import sip
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import Address, address_uri

__all__ = ["SipMessage", "address_uri"]


class SipMessage(sip.SipMessage):
    """A message whose contacts raise ``AgentError``, and whose addresses raise ``LocalError``."""

    def contacts(self) -> tuple[Address, ...]:
        try:
            return sip.SipMessage.contacts(self)
        except sip.SipMalformed as error:
            raise AgentError(Reason.SIP_FAILURE, f"malformed Contact: {error}") from None

    def uri(self, name: str) -> str | None:
        try:
            return sip.SipMessage.uri(self, name)
        except sip.SipMalformed as error:
            raise LocalError(str(error)) from None

    def asserted_identity(self) -> str | None:
        try:
            return sip.SipMessage.asserted_identity(self)
        except sip.SipMalformed as error:
            raise LocalError(str(error)) from None
