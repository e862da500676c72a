"""Which KMS is asked at which URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sipmikey.kms.client.exchange import ENCODINGS, KmsUrl
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.identity import same_identity


@dataclass(frozen=True, slots=True)
class Sites:
    """``default``: the KMS to ask when none is named. ``by_identity``: the others."""

    default: KmsUrl | None
    by_identity: Mapping[str, KmsUrl]

    @classmethod
    def of(
        cls,
        url: str | None,
        by_identity: Mapping[str, str] | None,
        *,
        encoding: str,
        allow_plain_http: bool,
    ) -> Sites:
        """Check a client's arguments; raises LocalError for URLs and encodings that cannot be used."""
        if url is None and not by_identity:
            raise LocalError("a KMS client needs at least one KMS URL")
        if encoding not in ENCODINGS:
            raise LocalError(f"encoding must be raw or base64, not {encoding!r}")
        return cls(
            None if url is None else KmsUrl.parse(url, allow_plain_http=allow_plain_http),
            {
                identity: KmsUrl.parse(text, allow_plain_http=allow_plain_http)
                for identity, text in (by_identity or {}).items()
            },
        )

    @property
    def need_tls(self) -> bool:
        """True if a URL is https."""
        return any(url is not None and url.tls for url in (self.default, *self.by_identity.values()))

    def find(self, kms: str | None) -> KmsUrl:
        """Return the URL of *kms*, or the default; raises LocalError if there is none."""
        for identity, url in self.by_identity.items():
            if kms is not None and same_identity(kms, identity):
                return url
        if self.default is None:
            raise LocalError(
                f"no URL is known for the KMS {kms!r}: add it to the KMS URLs of the configuration"
            )
        return self.default
