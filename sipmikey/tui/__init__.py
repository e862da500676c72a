"""The phone in a terminal (Textual). It renders a ``Phone`` and sends commands; it computes no security."""
