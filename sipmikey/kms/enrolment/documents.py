"""What the messages of enrolment carry: an envelope around the handshake's octets, and payloads inside.

All are JSON objects. A member that is not known is refused in what a device sends and passed over in what the
KMS sends, so that a newer KMS can tell more.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sipmikey.kms.enrolment.codes import NUMBER_SYMBOLS, parse_number
from sipmikey.kms.enrolment.profile import Profile
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

VERSION: Final = 1
MEDIA_TYPE: Final = "application/json"
MAX_NAME: Final = 64
MAX_DEVICE_ID: Final = 128
"""Characters of a device's name, and of its identifier."""

PSK_LABEL: Final = b"sipmikey enrolment pre-shared key"
DEVICE_LABEL: Final = b"sipmikey enrolment device key"


class BadEnrolment(PeerError):
    """A message of enrolment that does not follow its form."""

    reason = "malformed-enrolment"
    http_status = 400


class Act(StrEnum):
    """What a device asks."""

    REDEEM = "redeem"
    PROFILE = "profile"
    RENEW = "renew"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request. ``invitation``: number of an invitation, or ``device``: identifier of an enrolled device."""

    message: bytes
    invitation: str = ""
    device: str = ""

    @property
    def prologue(self) -> bytes:
        """What both sides of the handshake take in first: who asks."""
        return prologue_of(invitation=self.invitation, device=self.device)

    def encode(self) -> bytes:
        """Return the body of the HTTP request."""
        who = {"invitation": self.invitation} if self.invitation else {"device": self.device}
        return json_of({"version": VERSION, **who, "message": text_of(self.message)})

    @classmethod
    def decode(cls, body: bytes) -> Envelope:
        """Read the body of a request. Raises `BadEnrolment`."""
        fields = json_object(body, {"version": int, "invitation": str, "device": str, "message": str})
        if fields.get("version") != VERSION:
            raise BadEnrolment(f"version {VERSION} is spoken here", field="version")
        message = octets_in(fields, "message")
        invitation, device = fields.get("invitation", ""), fields.get("device", "")
        if bool(invitation) == bool(device):
            raise BadEnrolment("a request names an invitation or a device, and not both")
        if invitation and len(invitation) != NUMBER_SYMBOLS:
            raise BadEnrolment(f"{NUMBER_SYMBOLS} symbols are needed", field="invitation")
        if invitation:
            try:
                invitation = parse_number(invitation)
            except LocalError as error:
                raise BadEnrolment(str(error), field="invitation") from None
        if len(device) > MAX_DEVICE_ID or not device.isprintable():
            raise BadEnrolment(f"printable, {MAX_DEVICE_ID} characters at most", field="device")
        return cls(message=message, invitation=invitation, device=device)


def prologue_of(*, invitation: str = "", device: str = "") -> bytes:
    """Return what both sides of a handshake take in first."""
    who = f"invitation {invitation}" if invitation else f"device {device}"
    return f"sipmikey enrolment {VERSION} {who}".encode()


def encode_answer(message: bytes) -> bytes:
    """Return the body of an HTTP answer."""
    return json_of({"version": VERSION, "message": text_of(message)})


def decode_answer(body: bytes) -> bytes:
    """Return the handshake's message in the body of an answer. Raises `BadEnrolment`."""
    return octets_in(json_object(body, None), "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a device asks. ``name``: what its user calls it. ``csr``: PKCS#10 in DER, for a certificate.

    ``time_s``: Unix time at the device (all acts but redeem). ``version``: of the profile that it has.
    """

    act: Act
    name: str = ""
    csr: bytes = b""
    time_s: int = 0
    version: str = ""

    def encode(self) -> bytes:
        """Return the payload of the first message."""
        fields: dict[str, Any] = {"act": self.act.value}
        if self.act is not Act.REDEEM:
            fields["time_s"] = self.time_s
        for key, value in (
            ("name", self.name),
            ("csr", self.csr and text_of(self.csr)),
            ("profile", self.version),
        ):
            if value:
                fields[key] = value
        return json_of(fields)

    @classmethod
    def decode(cls, payload: bytes) -> Ask:
        """Read the payload of a first message. Raises `BadEnrolment`."""
        kinds = {"act": str, "name": str, "csr": str, "time_s": int, "profile": str}
        fields = json_object(payload, kinds)
        try:
            act = Act(fields.get("act", ""))
        except ValueError:
            raise BadEnrolment(f"one of {', '.join(Act)}", field="act") from None
        name = printable(fields.get("name", "").strip(), most=None)
        if len(name) > MAX_NAME:
            raise BadEnrolment(f"{MAX_NAME} characters at most", field="name")
        if act is not Act.REDEEM and "time_s" not in fields:
            raise BadEnrolment("the time of the device is missing", field="time_s")
        return cls(
            act=act,
            name=name,
            csr=octets_in(fields, "csr") if "csr" in fields else b"",
            time_s=fields.get("time_s", 0),
            version=fields.get("profile", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentGrant:
    """What the KMS gives. Of a redeemed invitation all is set, else what has changed.

    ``device``: identifier of the device; ``psk_id``: name of its new key, which both sides derive from the
    handshake and nobody sends; ``valid_until_s``: Unix time at which key or certificate expires.
    ``certificate``: PEM, with those of its issuers. ``secrets``: what else this user needs, by setting.
    """

    device: str = ""
    identity: str = ""
    kms_identity: str = ""
    psk_id: str = ""
    valid_until_s: int = 0
    certificate: str = ""
    profile: Profile | None = None
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the payload of the second message."""
        fields: dict[str, Any] = {
            "device": self.device, "identity": self.identity, "kms_identity": self.kms_identity,
            "psk_id": self.psk_id, "valid_until_s": self.valid_until_s, "certificate": self.certificate,
        }  # fmt: skip
        fields = {key: value for key, value in fields.items() if value}
        if self.profile is not None:
            fields["profile"] = self.profile.document()
        if self.secrets:
            fields["secrets"] = {name: secret.reveal().decode() for name, secret in self.secrets.items()}
        return json_of(fields)

    @classmethod
    def decode(cls, payload: bytes) -> EnrolmentGrant:
        """Read the payload of a second message. Raises `BadEnrolment`."""
        fields = json_object(payload, None)
        texts = {}
        for key in ("device", "identity", "kms_identity", "psk_id", "certificate"):
            texts[key] = fields.get(key, "")
            if not isinstance(texts[key], str) or (key != "certificate" and not texts[key].isprintable()):
                raise BadEnrolment("a printable text is needed", field=key)
        until_s = fields.get("valid_until_s", 0)
        secrets = fields.get("secrets", {})
        if not isinstance(until_s, int):
            raise BadEnrolment("a number of seconds is needed", field="valid_until_s")
        if not isinstance(secrets, dict) or not all(isinstance(text, str) for text in secrets.values()):
            raise BadEnrolment("texts by name are needed", field="secrets")
        try:
            profile = Profile.of(fields["profile"]) if "profile" in fields else None
        except LocalError as error:
            raise BadEnrolment(str(error), field="profile") from None
        return cls(
            **texts,
            valid_until_s=until_s,
            profile=profile,
            secrets={name: Secret(text.encode()) for name, text in secrets.items()},
        )


def json_of(fields: Mapping[str, Any]) -> bytes:
    """Return *fields* as JSON in its shortest form."""
    return json.dumps(fields, separators=(",", ":")).encode()


def json_object(octets: bytes, kinds: Mapping[str, type] | None) -> dict[str, Any]:
    """Return the JSON object in *octets*; with *kinds* it has no other members, each of its kind.

    Raises `BadEnrolment`.
    """
    try:
        fields = json.loads(octets, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadEnrolment("a JSON object is needed") from None
    if not isinstance(fields, dict):
        raise BadEnrolment("a JSON object is needed")
    for key, value in fields.items() if kinds is not None else ():
        if kinds is None or key not in kinds:
            raise BadEnrolment(f"unknown member {printable(key, most=40)!r}")
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise BadEnrolment(f"of type {kinds[key].__name__}", field=key)
    return fields


def _no_constant(word: str) -> object:
    raise ValueError(word)


def octets_in(fields: Mapping[str, Any], key: str) -> bytes:
    """Return the octets that a member of *fields* holds in base64. Raises `BadEnrolment`."""
    text = fields.get(key)
    try:
        return base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise BadEnrolment("base64 is needed", field=key) from None


def text_of(octets: bytes) -> str:
    """Return *octets* in base64."""
    return base64.b64encode(octets).decode()
