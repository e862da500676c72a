"""Presence (RFC 3856): who can be reached, as servers tell it, and our own, as we tell them."""
