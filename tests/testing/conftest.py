"""The fixtures of the kit, for the kit's own tests."""

from sipmikey.testing.plugin import *  # noqa: F403 - its __all__ is fixtures and hooks
