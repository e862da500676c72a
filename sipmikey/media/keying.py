"""The key of one direction of one stream, as every SRTP engine needs it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from sipmikey.media.profile import SrtpProfile, profile_for
from sipmikey.mikey.errors import InvalidSecurityPolicy, LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.ticket.bundle import CryptoSession

_SSRC_LIMIT = 1 << 32
_ROC_LIMIT = 1 << 32
_SEQ_LIMIT = 1 << 16
_MKI_LIMIT = 128
"""Longest MKI, in bytes (RFC 4568 section 6.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKey:
    """Master key and salt of one SSRC, bound to where its packet index starts.

    ``key`` and ``salt`` have the lengths that ``profile`` gives. ``mki`` is carried in every packet when it
    is not empty. ``roc`` and ``seq`` are the rollover counter and the sequence number of the next packet
    (RFC 6043 section 6.1.1); ``seq`` None leaves the first sequence number to the sender.
    """

    profile: SrtpProfile
    key: Secret
    salt: Secret
    ssrc: int
    roc: int = 0
    seq: int | None = None
    mki: bytes = b""

    def __post_init__(self) -> None:
        if len(self.key) != self.profile.key_length:
            raise LocalError(
                f"{self.profile.name} takes a master key of {self.profile.key_length} bytes, "
                f"not {len(self.key)}"
            )
        if len(self.salt) != self.profile.salt_length:
            raise LocalError(
                f"{self.profile.name} takes a master salt of {self.profile.salt_length} bytes, "
                f"not {len(self.salt)}"
            )
        if not 0 <= self.ssrc < _SSRC_LIMIT:
            raise LocalError("an SSRC has 32 bits")
        if not 0 <= self.roc < _ROC_LIMIT:
            raise LocalError("a rollover counter has 32 bits")
        if self.seq is not None and not 0 <= self.seq < _SEQ_LIMIT:
            raise LocalError("a sequence number has 16 bits")
        if len(self.mki) > _MKI_LIMIT:
            raise LocalError(f"an MKI has at most {_MKI_LIMIT} bytes")

    @classmethod
    def of(cls, session: CryptoSession, *, mki_in_packets: bool = False) -> StreamKey:
        """Make the key of a crypto session.

        The SPI of a session names its key, but whether packets carry it as an MKI is a matter of agreement:
        pjmedia's SRTP has no MKI, so it is left out unless *mki_in_packets*. Raises `InvalidSecurityPolicy`
        when the policy is one that no engine here can follow, or the peer gave a TEK without a salt.
        """
        profile = profile_for(session.policy)
        if len(session.master_salt) != profile.salt_length:
            raise InvalidSecurityPolicy(
                f"{profile.name} takes a salt of {profile.salt_length} bytes, not {len(session.master_salt)}",
                field=f"CS ID {session.cs_id}",
            )
        return cls(
            profile=profile,
            key=session.master_key,
            salt=session.master_salt,
            ssrc=session.ssrc,
            roc=session.roc,
            seq=session.seq,
            mki=session.spi if mki_in_packets else b"",
        )

    def keying(self) -> Secret:
        """Return master key || master salt."""
        return Secret(self.key.reveal() + self.salt.reveal())

    def sdes_inline(self) -> Secret:
        """Return the ``inline:`` value of an a=crypto line (RFC 4568 section 6.1), for other tools."""
        return Secret(b"inline:" + base64.b64encode(self.keying().reveal()))
