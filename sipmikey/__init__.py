"""SIP calls protected end to end with MIKEY-TICKET (RFC 6043)."""

__version__ = "0.1.0"
