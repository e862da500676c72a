"""From `http.traces` of `kms.toml` to what makes traces."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sipmikey.cli.kms.configuration import KmsConfiguration
from sipmikey.kms.enrolment.codes import PATH
from sipmikey.kms.server.app import HttpSettings
from sipmikey.settings import ConfigurationError

if TYPE_CHECKING:
    from sipmikey.kms.server.tracing import Tracing


def places_of(path: str) -> dict[tuple[bytes, bytes], str]:
    """Return the names of what is asked for, by path and query."""
    settings = HttpSettings(path=path)
    places = {
        (path.encode(), f"{settings.parameter}={word}".encode()): str(exchange)
        for word, exchange in settings.words.items()
    }
    places |= {(path.encode(), b""): "unknown", (PATH.encode(), b""): "enrolment"}
    return places | {(f"/health/{word}".encode(), b""): f"health {word}" for word in ("live", "ready")}


def tracing_of(configuration: KmsConfiguration) -> Tracing | None:
    """Return what makes traces, None where none are wanted. Raises ConfigurationError."""
    endpoint = configuration.http.traces
    if not endpoint:
        return None
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise ConfigurationError(f"http.traces is an http:// or https:// URL, not {endpoint!r}")
    try:
        from sipmikey.kms.server.tracing import exporting
    except ImportError as error:
        raise ConfigurationError(f"http.traces needs {error.name}: pip install 'sipmikey[otel]'") from None
    return exporting(endpoint, places_of(configuration.http.path))
