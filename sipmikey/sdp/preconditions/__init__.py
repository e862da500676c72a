"""Preconditions of a session (RFC 3312, updated by RFC 4032): resources that are there before it rings."""
