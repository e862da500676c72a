"""A protected message for a user who is offline (RFC 6043 section 3): left, kept, opened. No I/O."""
