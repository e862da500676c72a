"""Why something did not work, in plain words, and what a person can do about it."""

from __future__ import annotations

from types import MappingProxyType

from sipmikey.phone.documents import Document, text
from sipmikey.phone.text import Text

_SENTENCES = MappingProxyType(
    {
        "hangup": Text("The call is over."),
        "cancelled": Text("The call was given up before it was answered."),
        "transferred": Text("The call was handed on."),
        "replaced": Text("Another call took the place of this one."),
        "answered-elsewhere": Text("The call was answered on another device."),
        "busy": Text("The other side is busy."),
        "declined": Text("The other side declined."),
        "not-found": Text("The server does not know this address."),
        "unauthorized": Text("User name or password are wrong, or no password is set."),
        "no-answer": Text("Nobody answered."),
        "setup-timeout": Text("Nobody answered in time."),
        "too-many-calls": Text("There are too many calls already."),
        "transport-failed": Text("The server cannot be reached."),
        "registration-failed": Text("The server did not accept the registration."),
        "kms-unreachable": Text("The KMS cannot be reached."),
        "kms-timeout": Text("The KMS did not answer in time."),
        "kms-refused": Text("The KMS refused."),
        "kms-busy": Text("The KMS is too busy."),
        "kms-failure": Text("The KMS has an internal error."),
        "kms-bad-answer": Text("What the KMS answered is not valid."),
        "no-kms": Text("No KMS is set up, and the call has to be protected."),
        "key-mgmt-missing": Text("The other side offered no protection, and it is required."),
        "media-not-secured": Text("The other side wants the sound unprotected, and protection is required."),
        "peer-refused-keying": Text("The other side does not protect calls this way."),
        "identity-mismatch": Text("The call came from somebody else than the KMS vouches for."),
        "auth-failure": Text("A message of the other side was altered, or its key is wrong."),
        "invalid-timestamp": Text("The clocks of the two sides differ too much."),
        "replayed-message": Text("An old message was sent again. Somebody may be replaying calls."),
        "bidding-down": Text("Somebody on the way tried to take the protection away."),
        "sent-sdp-altered": Text("The protection was taken out of the call on its way. It was ended."),
        "policy": Text("Your settings do not allow this."),
        "media-unproven": Text("No sound of the other side arrived that decrypts."),
        "media-failed": Text("The sound of the other side does not decrypt."),
        "media-stalled": Text("Nothing of the other side arrives any more."),
        "peer-gone": Text("The other side is gone: nothing of it arrived for too long."),
        "stack-failed": Text("The part that speaks SIP has ended, and the call with it."),
        "sip-failure": Text("The server or the other side refused the call."),
        "unknown-key": Text("The KMS does not know the key of this user."),
        "not-authorized": Text("The KMS does not allow this call."),
        "ticket-expired": Text("The ticket for the call is too old."),
        "key-expired": Text("The keys of the call have reached the end of their life."),
        "address-family": Text("The two sides have no common kind of internet address (IPv4, IPv6)."),
        "internal-error": Text("The engine that makes the calls failed."),
    }
)

_OTHER_PHONE = Text("Ask the other side to call with sipmikey or another MIKEY-TICKET phone.")

_ADVICE = MappingProxyType(
    {
        "unauthorized": Text("Check the user name and the password in the settings."),
        "not-found": Text("Check how the address is written."),
        "transport-failed": Text("Check the network and the server's address."),
        "registration-failed": Text("Check the network and the server's address."),
        "kms-unreachable": Text("Check the network and the address of the KMS in the settings."),
        "kms-timeout": Text("Try again in a moment."),
        "kms-busy": Text("Try again in a moment."),
        "kms-refused": Text("Check the key for the KMS, or ask its administrator."),
        "no-kms": Text("Run sipmikey setup."),
        "key-mgmt-missing": _OTHER_PHONE,
        "peer-refused-keying": Text(
            "Ask the other side to call with sipmikey or another MIKEY-TICKET phone."
        ),
        "invalid-timestamp": Text("Check the date and time of both machines."),
        "bidding-down": Text("Do not repeat the call without protection. Tell your administrator."),
        "sent-sdp-altered": Text("Do not repeat the call without protection. Tell your administrator."),
        "replayed-message": Text("Tell your administrator if it happens again."),
        "media-unproven": Text("A firewall or NAT may hold the packets back. Try another network."),
        "key-expired": Text("Call again."),
    }
)


def why(document: Document) -> Text:
    """Return the sentence for the reason in *document*, with whose fault it is where that is not plain."""
    reason, side, detail = (text(document, name) for name in ("reason", "side", "detail"))
    sentence = _SENTENCES.get(reason)
    if sentence is None:
        return Text("{detail}", {"detail": detail or reason or "?"})
    if text(document, "type") == "policy.fallback":
        return Text("NOT PROTECTED: your settings let this call go on in clear. {why}", {"why": sentence})
    if text(document, "type") == "policy.alternative":
        return Text("NOT END TO END: every server on the way can read the keys. {why}", {"why": sentence})
    if reason.startswith("kms-") and side == "remote":
        return Text("The problem is at the other side. {why}", {"why": sentence})
    return sentence


def advice_for(reason: str, side: str = "") -> Text | None:
    """Return what a person can do about *reason*, None when there is nothing to be said."""
    if reason.startswith("kms-") and side == "remote":
        return Text("The other side has to look into it.")
    return _ADVICE.get(reason)


def ended_text(reason: str, side: str, detail: str) -> Text:
    """Return how a call ended, in one sentence."""
    if reason == "hangup" and side == "remote":
        return Text("The other side hung up.")
    if reason == "hangup" and side == "local":
        return Text("You hung up.")
    if reason == "cancelled" and side == "remote":
        return Text("The caller gave up.")
    return why({"reason": reason, "side": side, "detail": detail})
