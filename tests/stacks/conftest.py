"""The fixtures of the kit."""

from sipmikey.testing.plugin import *  # noqa: F403 - its __all__ is fixtures and hooks
