"""The KMS of the tests of a face, one a file."""

from __future__ import annotations

from tests.phone.conftest import kms as kms
