"""Contact header fields as redirections carry them."""

from sipmikey.sip import Address as Contact

__all__ = ["Contact"]
