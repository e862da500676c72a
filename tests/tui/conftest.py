"""The KMS of the tests of a face, one a file, and the people whom it calls."""

from __future__ import annotations

from tests.phone.conftest import agent as peer
from tests.phone.conftest import kms as kms

__all__ = ["kms", "peer"]
