"""The phone in a window (PySide6 widgets). It renders a ``Phone``, sends commands, computes no security."""
