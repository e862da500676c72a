"""Who may have tickets for whom, and with which properties."""

from __future__ import annotations


class Policy:
    """The rules in force; see `sipmikey.kms.policy_file.load` for the file format."""
