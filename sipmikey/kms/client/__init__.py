"""Asking a KMS over HTTP: one POST for a Ticket Request or a Ticket Resolve.

`HttpKmsClient` is for asyncio and needs httptools (extra ``client``); `BlockingKmsClient` needs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sipmikey.kms.client.blocking import BlockingKmsClient
from sipmikey.kms.client.errors import (
    KmsBadAnswer,
    KmsBusy,
    KmsFailure,
    KmsRefused,
    KmsTimeout,
    KmsUnreachable,
)
from sipmikey.kms.client.tls import ClientTls

if TYPE_CHECKING:
    from sipmikey.kms.client.http import HttpKmsClient

__all__ = [
    "BlockingKmsClient",
    "ClientTls",
    "HttpKmsClient",
    "KmsBadAnswer",
    "KmsBusy",
    "KmsFailure",
    "KmsRefused",
    "KmsTimeout",
    "KmsUnreachable",
]


def __getattr__(name: str) -> object:
    """Import what needs httptools when it is asked for."""
    if name == "HttpKmsClient":
        return import_module("sipmikey.kms.client.http").HttpKmsClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
